"""Read the Hub's local cache without network access and without importing `huggingface_hub`.

The documented layout: `models--owner--name/refs/<revision>` contains a commit, and `snapshots/<commit>/` its
files.
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

# Old names without an owner, and the present names of these repositories.
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
    """One commit of a repository with its cached files, which may be incomplete."""

    path: Path
    commit: str


def check_repo(name: str, revision: str | None) -> None:
    """Refuse malformed names of repositories and revisions, which could escape from the cache folder.

    Raises:
        InvalidInputError: a name or revision with characters, dots or dashes that the Hub does not allow.
    """
    if not _REPO.fullmatch(name) or ".." in name or "--" in name:
        raise InvalidInputError(
            f"{name!r} is not a name on the Hub: write name or owner/name, with letters, digits, - _ and .",
            hint="To name a folder, write a path that starts with ./, ../, ~ or /.",
        )
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise InvalidInputError(
            f"{revision!r} is not a revision of {name}: write a branch, a tag or the 40 digits of a commit"
        )


def cached_snapshot(kind: RepoKind, name: str, revision: str | None) -> Snapshot | None:
    """Return the commit of `revision` (None: `main`) at the time of its last download, or None."""
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
