"""The end of a worker's log, as far as it fits into a report."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.foreign import read_tail

TAIL_BYTES: Final = 4096
TAIL_LINES: Final = 40


def log_tail(path: Path, *, size: int = TAIL_BYTES, lines: int = TAIL_LINES) -> str:
    """The log's last whole lines, at most `lines` of them and about `size` bytes; nothing without one."""
    try:
        data, cut = read_tail(path, size=size)
    except OSError:
        return ""
    text = data.decode("utf-8", "replace")
    if cut:
        _, newline, rest = text.partition("\n")
        text = rest if newline else text
    return "\n".join(text.splitlines()[-lines:])
