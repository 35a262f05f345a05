"""The end of a worker's log, as far as it fits into a report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

TAIL_BYTES: Final = 4096
TAIL_LINES: Final = 40


def log_tail(path: Path, *, size: int = TAIL_BYTES, lines: int = TAIL_LINES) -> str:
    """The log's last whole lines, at most `lines` of them and about `size` bytes; nothing without one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            length = os.fstat(descriptor).st_size
            file.seek(max(length - size, 0))
            data = file.read(size)
    except OSError:
        return ""
    text = data.decode("utf-8", "replace")
    if length > size:
        _, newline, rest = text.partition("\n")
        text = rest if newline else text
    return "\n".join(text.splitlines()[-lines:])
