"""Reading the Hub's cache on this machine, without the network and without importing its library.

The layout is the documented one: `models--owner--name/refs/<revision>` holds a commit, and
`snapshots/<commit>/` its files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from harness.assets.places import hub_cache, wanted_cache_root
from harness.errors import InvalidInputError
from harness.foreign import read_regular

RepoKind = Literal["model", "dataset"]

# Names from before owners were part of them, and where the Hub keeps these repositories now.
RENAMED: Final = {
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "bert-large-cased": "google-bert/bert-large-cased",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
    "distilbert-base-cased": "distilbert/distilbert-base-cased",
    "roberta-base": "FacebookAI/roberta-base",
}

_PART: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPO: Final = re.compile(rf"{_PART}(?:/{_PART})?")
_REVISION: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,254}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_LONGEST_REF: Final = 4096


@dataclass(frozen=True)
class Snapshot:
    """One commit of a repository, as far as its files are in the cache."""

    path: Path
    commit: str


def check_repo(name: str, revision: str | None) -> None:
    """Refuse what can be no repository or revision on the Hub, so that neither can become another path.

    Raises:
        InvalidInputError: a name or revision with characters, dots or dashes the Hub does not allow.
    """
    if not _REPO.fullmatch(name) or ".." in name or "--" in name:
        raise InvalidInputError(
            f"{name!r} is no name on the Hub: it wants name or owner/name, of letters, digits, - _ and .",
            hint="To name a folder, write a path that starts with ./, ../, ~ or /.",
        )
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise InvalidInputError(
            f"{revision!r} is no revision of {name}: it wants a branch, a tag or a commit's 40 digits"
        )


def cached_snapshot(kind: RepoKind, name: str, revision: str | None) -> Snapshot | None:
    """The commit `revision` (None: `main`) stood at when it was last downloaded, or None."""
    for root in (hub_cache(), wanted_cache_root() / "hub"):
        for alias in _aliases(name):
            folder = root / f"{kind}s--{alias.replace('/', '--')}"
            commit = _commit(folder, revision or "main")
            if commit is not None and (folder / "snapshots" / commit).is_dir():
                return Snapshot(folder / "snapshots" / commit, commit)
    return None


def _aliases(name: str) -> tuple[str, ...]:
    if name in RENAMED:
        return (name, RENAMED[name])
    return (name, *(old for old, new in RENAMED.items() if new == name))


def _commit(folder: Path, revision: str) -> str | None:
    if _COMMIT.fullmatch(revision):
        return revision
    try:
        commit = read_regular(folder / "refs" / revision, limit=_LONGEST_REF).decode("ascii").strip()
    except (OSError, ValueError):
        return None
    return commit if _COMMIT.fullmatch(commit) else None
