"""Where assets are kept: our own cache and the Hub's, found in the environment without importing anything."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import platformdirs

Note = Callable[[str], None]


def cache_root(note: Note | None = None) -> Path:
    """Our own cache folder, made if need be: `$HARNESS_CACHE_DIR`, or the user's cache folder.

    Where that cannot be written, a temporary folder of this process takes its place, and `note` is told.
    """
    wanted = wanted_cache_root()
    if _writable(wanted):
        return wanted
    fallback = _temporary_root()
    if note is not None:
        note(
            f"{wanted} cannot be written: using {fallback}, which later runs will not find; "
            "set HARNESS_CACHE_DIR to a writable folder"
        )
    return fallback


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
    fallback = cache_root(note) / "hub"
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
    return Path(tempfile.mkdtemp(prefix="harness-"))
