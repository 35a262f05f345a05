"""Standard streams that can be relied on: a closed one is the null device, and standard error never fails.

A run takes hours. A terminal that has gone, or a full disk under the file that its progress goes to, must not
end it. Standard output carries the result, and an error there still counts.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, Final

_STANDARD: Final = (0, 1, 2)


class _Lossy(io.FileIO):
    """A file that takes everything, also where the system does not."""

    def write(self, data: Any, /) -> int:
        """Write what can be written, and count it as written in full."""
        try:
            written: int | None = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written


def secure_streams() -> None:
    """Open closed streams as the null device, and make standard error forgiving.

    A closed descriptor would be given to the next file that is opened, and get the messages printed into it.
    """
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Lossy(2, "w", closefd=False)),
            encoding=getattr(sys.stderr, "encoding", "utf-8"),
            errors="backslashreplace",
            line_buffering=True,
            write_through=True,
        )
