"""Where assets are kept: our own cache and the Hub's, found in the environment without importing anything."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import platformdirs

Note = Callable[[str], None]

TRIAL_PARTS: Final = ("tokens", "peaks")
"""The folders of our cache that trials write."""


def cache_root(note: Note | None = None, parts: Sequence[str] = TRIAL_PARTS) -> Path:
    """Our own cache folder, made if need be: `$HARNESS_CACHE_DIR`, or the user's cache folder.

    Where that cannot be written, or another user's folder in it, a temporary folder of this process takes its
    place, and `note` is told.

    Args:
        note: told in a sentence.
        parts: the folders in it that will be written.
    """
    wanted = wanted_cache_root()
    if (blocked := blocked_part(wanted, parts)) is None:
        return wanted
    fallback = _temporary_root()
    if note is not None:
        note(
            f"{blocked} cannot be written: using {fallback}, which later runs will not find; "
            "set HARNESS_CACHE_DIR to a writable folder"
        )
    return fallback


def blocked_part(root: Path, parts: Sequence[str] = TRIAL_PARTS) -> Path | None:
    """Return which of a cache's folder and its parts, as far as they are there, cannot be written."""
    there = (root / part for part in parts if os.path.lexists(root / part))
    return next((folder for folder in (root, *there) if not _writable(folder)), None)


def is_readable(folder: Path) -> bool:
    """Whether the folder is there, and this user may list it and open what is in it."""
    return os.path.isdir(folder) and os.access(folder, os.R_OK | os.X_OK)  # noqa: PTH112 - False for any error


def wanted_cache_root() -> Path:
    """The folder `cache_root` would like to use, whether or not it can be written; nothing is made."""
    named = os.environ.get("HARNESS_CACHE_DIR")
    return (
        Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("harness", appauthor=False))
    )


def hub_cache() -> Path:
    """The Hub's cache folder, by the variables that `huggingface_hub` reads, in its order."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(variable):
            return _expanded(folder)
    if home := os.environ.get("HF_HOME"):
        return _expanded(home) / "hub"
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def writable_hub_cache(note: Note) -> Path:
    """Where a download from the Hub goes: its cache, or a folder in ours when that cannot be written."""
    wanted = hub_cache()
    if _writable(wanted):
        return wanted
    fallback = cache_root(note, ("hub",)) / "hub"
    fallback.mkdir(parents=True, exist_ok=True)
    note(f"the Hub's cache {wanted} cannot be written (see HF_HOME): downloading to {fallback}")
    return fallback


def _expanded(folder: str) -> Path:
    """The folder with `~` replaced; for a user without a home, one of this process instead."""
    try:
        return Path(folder).expanduser().absolute()
    except RuntimeError:
        return _temporary_root()


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@cache
def _temporary_root() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="harness-"))
    # A forked worker, which uses it too, ends without this.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
