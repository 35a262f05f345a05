"""Locate the caches of assets, ours and the Hub's, from environment variables."""

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
"""The folders of the cache that trials write to."""


def cache_root(note: Note | None = None, parts: Sequence[str] = TRIAL_PARTS) -> Path:
    """Return the cache folder, created if missing: `$HARNESS_CACHE_DIR`, or the user's cache folder.

    If it or one of `parts` cannot be written, for example because another user owns it, return a temporary
    folder of this process and report that to `note`.

    Args:
        note: receives a sentence.
        parts: the folders in the cache that will be written.
    """
    wanted = wanted_cache_root()
    if (blocked := blocked_part(wanted, parts)) is None:
        return wanted
    fallback = _temporary_root()
    if note is not None:
        note(
            f"{blocked} cannot be written: using {fallback}, which later runs do not see; "
            "set HARNESS_CACHE_DIR to a writable folder"
        )
    return fallback


def blocked_part(root: Path, parts: Sequence[str] = TRIAL_PARTS) -> Path | None:
    """Return the cache folder or the first of its existing parts that cannot be written; None if all can."""
    there = (root / part for part in parts if os.path.lexists(root / part))
    return next((folder for folder in (root, *there) if not _writable(folder)), None)


def is_readable(folder: Path) -> bool:
    """Return whether the folder exists and this user may list it and open its files."""
    return os.path.isdir(folder) and os.access(folder, os.R_OK | os.X_OK)  # noqa: PTH112 - False for any error


def wanted_cache_root() -> Path:
    """Return the folder that `cache_root` tries first, without checking or creating it."""
    named = os.environ.get("HARNESS_CACHE_DIR")
    return (
        Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("harness", appauthor=False))
    )


def hub_cache() -> Path:
    """Return the Hub's cache folder from the variables that `huggingface_hub` reads, in the same order."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(variable):
            return _expanded(folder)
    if home := os.environ.get("HF_HOME"):
        return _expanded(home) / "hub"
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def writable_hub_cache(note: Note) -> Path:
    """Return the folder for downloads from the Hub: its cache, or a folder in ours if it is not writable."""
    wanted = hub_cache()
    if _writable(wanted):
        return wanted
    fallback = cache_root(note, ("hub",)) / "hub"
    fallback.mkdir(parents=True, exist_ok=True)
    note(f"the Hub's cache {wanted} cannot be written (see HF_HOME): downloading to {fallback}")
    return fallback


def _expanded(folder: str) -> Path:
    """Return the folder with `~` expanded; a temporary one for a user without a home folder."""
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
    # Forked workers use the folder too and exit without running this.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
