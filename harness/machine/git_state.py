"""Read the commit of a folder's repository and whether its files differ, without running code from it.

A repository's configuration can name programs: a file monitor, hooks, content filters, a transport for
missing objects. All of them are turned off. The configurations of the system and the user are respected.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.model.environment import Git
from harness.programs import child_environment, find_program, run_program

_SECONDS: Final = 10.0
_OWN_SCOPES: Final = frozenset({b"local", b"worktree"})
_LIST_FILTERS: Final = (
    *("config", "--null", "--show-scope", "--name-only", "--includes"),
    *("--get-regexp", r"^filter\..*\.(clean|smudge|process|required)$"),
)
# Git's other variables name another repository, or programs.
_KEPT: Final = (
    "GIT_CEILING_DIRECTORIES",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_KEY_",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_VALUE_",
)
_SETTINGS: Final = (
    "core.fsmonitor=false",
    f"core.hooksPath={os.devnull}",
    # Treat a folder with the layout of a bare repository as data.
    "safe.bareRepository=explicit",
)
_STATUS: Final = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")


def describe_git(folder: Path) -> Git | None:
    """Return the commit of `folder`, or None outside a repository or without git.

    A repository whose state cannot be determined counts as dirty.
    """
    program = find_program("git")
    if program is None:
        return None
    environ = _environment(os.environ)
    command = (program, "--no-pager", "-C", str(folder), *(part for one in _SETTINGS for part in ("-c", one)))
    # Plumbing: `git show` may start the program that a repository names for signatures.
    found = _output(command, "rev-list", "--max-count=1", "--timestamp", "HEAD", environ=environ)
    if not found:
        return None
    seconds, _, commit = found.decode("ascii", "replace").partition(" ")
    changes = _output(command, *_STATUS, environ=_without_filters(command, environ))
    return Git(commit=commit, dirty=changes != b"", committed=_date(seconds))


def _date(seconds: str) -> datetime | None:
    """Return the date of a timestamp; None if a repository has one that no calendar has."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in child_environment(environ).items()
        if not name.startswith("GIT_") or name.startswith(_KEPT)
    }
    # Allow no protocol: git would fetch a missing object with a program that the repository names.
    return kept | {
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def _without_filters(command: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that disables each content filter in the repository's configuration.

    A file that equals its commit only after such a filter then counts as changed.
    """
    listed = _output(command, *_LIST_FILTERS, environ=environ, strip=False)
    fields = (listed or b"").split(b"\0")
    own = {
        os.fsdecode(key)
        for scope, key in zip(fields[::2], fields[1::2], strict=False)
        if scope in _OWN_SCOPES
    }
    before = environ.get("GIT_CONFIG_COUNT", "0")
    count = int(before) if before.isdecimal() else 0
    changed = dict(environ)
    for number, key in enumerate(sorted(own), start=count):
        changed[f"GIT_CONFIG_KEY_{number}"] = key
        changed[f"GIT_CONFIG_VALUE_{number}"] = "false" if key.endswith(".required") else ""
    return changed | {"GIT_CONFIG_COUNT": str(count + len(own))}


def _output(
    command: tuple[str, ...], *arguments: str, environ: Mapping[str, str], strip: bool = True
) -> bytes | None:
    try:
        done = run_program((*command, *arguments), timeout_s=_SECONDS, environ=environ)
    except OSError:
        return None
    if done.code != 0:
        return None
    return done.stdout.strip() if strip else done.stdout
