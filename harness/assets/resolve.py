"""Find a suite's checkpoints and data; the names that other packages import."""

from __future__ import annotations

from harness.assets.find_checkpoint import find_checkpoint, peek_checkpoint
from harness.assets.find_data import find_data
from harness.assets.places import Note, cache_root

__all__ = ["Note", "cache_root", "find_checkpoint", "find_data", "peek_checkpoint"]
