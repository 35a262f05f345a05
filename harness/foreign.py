"""Read a file that another program wrote: a regular file of bounded size, or an error, and never a hang.

Opening a named pipe blocks until somebody writes into it, a device never ends, and a sparse file of 40 GB
takes no disk but all of the memory. Every file that is not the harness's own goes through here.
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
    """The path is no regular file, or the file is larger than its reader accepts."""


def open_regular(path: Path, *, follow: bool = True) -> int:
    """Open a regular file for reading and return its descriptor; the caller closes it.

    Args:
        path: the file.
        follow: follow a symbolic link, as the Hub's cache needs, to what must be a regular file too.

    Raises:
        ForeignFileError: the path is a pipe, a device, a socket or a folder.
        OSError: the operating system refused, also a symbolic link without `follow`.
    """
    # Without O_NONBLOCK a pipe without a writer would block here, before it can be recognised.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise ForeignFileError(f"is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a regular file")


def read_regular(path: Path, *, limit: int, follow: bool = True) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises:
        ForeignFileError: it is no regular file, or larger.
        OSError: as `open_regular`.
    """
    with os.fdopen(open_regular(path, follow=follow), "rb") as file:
        # The size first: a sparse file must not be read to learn that it is too large.
        if os.fstat(file.fileno()).st_size <= limit:
            content = file.read(limit + 1)
            if len(content) <= limit:
                return content
    raise ForeignFileError(f"is larger than {_shown(limit)}, the limit for such a file")


def read_tail(path: Path, *, size: int, follow: bool = False) -> tuple[bytes, bool]:
    """Return the last `size` bytes of a regular file, and whether there are more before them.

    Raises:
        ForeignFileError: it is no regular file.
        OSError: as `open_regular`.
    """
    with os.fdopen(open_regular(path, follow=follow), "rb") as file:
        length = os.fstat(file.fileno()).st_size
        file.seek(max(length - size, 0))
        return file.read(size), length > size


def last_lines(path: Path, *, size: int = TAIL_BYTES, lines: int = TAIL_LINES) -> str:
    """Return the last whole lines of a text file, at most `lines` and about `size` bytes; "" without one."""
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
