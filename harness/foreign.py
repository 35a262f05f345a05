"""Read files written by other programs: only regular files of bounded size, without blocking.

Opening a named pipe blocks until another process writes to it, reading a device may never end, and a
sparse file of 40 GB uses no disk space but exhausts memory. Use this module for every file that the harness
did not write.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

TAIL_BYTES: Final = 4096
TAIL_LINES: Final = 40

_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


class ForeignFileError(OSError):
    """The path is not a regular file, or the file is larger than its reader accepts."""

    def __init__(self, reason: str, path: Path | None = None) -> None:
        super().__init__(reason)
        self.path = path


def name_of_file(error: OSError) -> str:
    """Return the name of the file that could not be read, without its folder."""
    path = error.path if isinstance(error, ForeignFileError) else error.filename
    return Path(str(path)).name


def open_regular(path: Path, *, follow: bool = True) -> int:
    """Open a regular file for reading and return its descriptor; the caller closes it.

    Args:
        path: the file.
        follow: follow a symbolic link to a regular file, as the Hub's cache requires.

    Raises:
        ForeignFileError: the path is a pipe, a device, a socket or a folder.
        OSError: the file cannot be opened, or is a symbolic link and `follow` is false.
    """
    # Without O_NONBLOCK a pipe without a writer would block here, before its type can be checked.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise ForeignFileError(f"is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a regular file", path)


def read_regular(path: Path, *, limit: int, follow: bool = True) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises:
        ForeignFileError: it is not a regular file, or is larger.
        OSError: as `open_regular`.
    """
    with os.fdopen(open_regular(path, follow=follow), "rb") as file:
        # Check the size first, so that a large sparse file is rejected without reading it.
        if os.fstat(file.fileno()).st_size <= limit:
            content = file.read(limit + 1)
            if len(content) <= limit:
                return content
    raise ForeignFileError(f"is larger than {_shown(limit)}, the limit for this file", path)


def read_tail(path: Path, *, size: int, follow: bool = False) -> tuple[bytes, bool]:
    """Return the last `size` bytes of a regular file, and whether the file is longer.

    Raises:
        ForeignFileError: it is not a regular file.
        OSError: as `open_regular`.
    """
    with os.fdopen(open_regular(path, follow=follow), "rb") as file:
        length = os.fstat(file.fileno()).st_size
        file.seek(max(length - size, 0))
        return file.read(size), length > size


def last_lines(path: Path, *, size: int = TAIL_BYTES, lines: int = TAIL_LINES) -> str:
    """Return the last whole lines of a text file, up to `lines` and about `size` bytes; may be ""."""
    try:
        data, cut = read_tail(path, size=size)
    except OSError:
        return ""
    text = data.decode("utf-8", "replace")
    if cut:
        _, newline, rest = text.partition("\n")
        text = rest if newline else text
    return "\n".join(text.splitlines()[-lines:])


def _shown(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 2**20 else f"{size:,} bytes"
