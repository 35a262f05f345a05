"""Redact secrets and home folders from all output: reasons, tracebacks, logs."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

REDACTED: Final = "[redacted]"
# Redacting shorter values ("1", "true", "none") would remove ordinary words and protect nothing.
SHORTEST_SECRET: Final = 6

_SECRET_NAME: Final = re.compile(
    r"(?:^|_)(?:TOKEN|KEY|SECRET|PASS|PASSPHRASE|CREDENTIALS?|AUTH|PAT|DSN|COOKIE|WEBHOOK)S?(?:_|$)"
    r"|PASSWORD|PASSWD|SECRET|APIKEY|ACCESSKEY|(?:^|_)TOKEN",
    re.IGNORECASE,
)
_NOT_SECRET: Final = frozenset({"TOKENIZERS_PARALLELISM", "SSH_AUTH_SOCK"})
_URL_PASSWORD: Final = re.compile(
    r"(?P<before>\b[a-z][a-z0-9+.-]*://)(?P<secret>[^\s/@'\"]+)@", re.IGNORECASE
)
# Published token formats: Hugging Face, GitHub, GitLab, OpenAI-like, AWS, Slack, Google, PyPI, JWT.
_TOKENS: Final = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|sk-[\w-]{16,}|A[KS]IA[A-Z0-9]{16}|xox[abeprs]-[\w-]{10,}|AIza[\w-]{30,}|pypi-[\w-]{16,}"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+)"
)
_ASSIGNED: Final = re.compile(
    r"(?P<before>\b(?:bearer\s+|(?:[\w-]*(?:api[_-]?key|secret|passw(?:or)?d|token))['\"]?\s*[=:]\s*['\"]?))"
    r"(?P<secret>[^\s'\",;]{6,})",
    re.IGNORECASE,
)
_SPECIAL_TOKEN: Final = re.compile(r"(?:bos|cls|eos|mask|pad|sep|unk)_token", re.IGNORECASE)
_PEM: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)


def is_secret_name(name: str) -> bool:
    """Return whether the name suggests an environment variable with a secret."""
    return name.upper() not in _NOT_SECRET and _SECRET_NAME.search(name) is not None


def secrets_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secret values of environment variables in every spelling, longest first."""
    found: set[str] = set()
    for name, value in environ.items():
        if is_secret_name(name):
            found.update((value, *value.splitlines()))
        found.update(_url_passwords(value))
    spellings = {spelling for value in found for spelling in _spellings(value.strip())}
    return tuple(sorted((text for text in spellings if len(text) >= SHORTEST_SECRET), key=len, reverse=True))


def _url_passwords(value: str) -> set[str]:
    return {found["secret"].partition(":")[2] or found["secret"] for found in _URL_PASSWORD.finditer(value)}


def _spellings(value: str) -> set[str]:
    return {value, repr(value)[1:-1], json.dumps(value)[1:-1], urllib.parse.quote(value, safe="")}


def redact(text: str, secrets: Sequence[str] = (), *, home: str | None = None) -> str:
    """Return the text without secrets and without the home folder.

    Args:
        text: the text to redact.
        secrets: values to replace, longest first, as `secrets_in` returns them.
        home: the folder to replace by `~`; None for the current user's home folder.
    """
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, REDACTED)
    text = _PEM.sub(REDACTED, text)
    text = _URL_PASSWORD.sub(rf"\g<before>{REDACTED}@", text)
    text = _TOKENS.sub(REDACTED, text)
    text = _ASSIGNED.sub(_hide_assigned, text)
    return _hide_home(text, home_folder() if home is None else home)


def holds_secret(text: str, secrets: Sequence[str] = ()) -> bool:
    """Return whether the text contains one of the values, a token in a known format, or a URL's password."""
    return (
        any(secret in text for secret in secrets)
        or _TOKENS.search(text) is not None
        or _URL_PASSWORD.search(text) is not None
        or _PEM.search(text) is not None
    )


def home_folder() -> str:
    """Return the current user's home folder, or an empty text if it is unknown or the root folder."""
    try:
        home = str(Path.home())
    except RuntimeError:
        return ""
    return "" if home == "/" else home


def _hide_assigned(found: re.Match[str]) -> str:
    secret = found["secret"]
    # A tokenizer's special tokens occur often and are not secret.
    harmless = secret.startswith(REDACTED) or _SPECIAL_TOKEN.match(found["before"]) is not None
    return found[0] if harmless else found["before"] + REDACTED


def _hide_home(text: str, home: str) -> str:
    return re.sub(rf"{re.escape(home)}(?=$|[/\s'\":,)\]])", "~", text) if home else text
