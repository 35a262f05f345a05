"""A run directory belongs to one process: `flock` for as long as it lives, however it ends."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from harness.errors import LockedError
from harness.store.writing import storage_error

LOCK: Final = "lock"
"""The name of the file that is locked, in the folder that belongs to one process."""
PATIENCE_S: Final = 1.0
_HOLDER: Final = re.compile(r"process (\d+) on (\S+)\n")


@contextmanager
def hold_lock(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock the file `path`; the kernel unlocks it when the process ends, even by `kill -9`.

    With `wait`, block until the other holder has gone. A child made by `fork` without `exec`
    keeps it after a kill: start workers by `exec`.

    Raises:
        LockedError: Another process has locked it; the message names its id and host.
        StorageError: The file cannot be opened, or its file system knows no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise storage_error(error, f"cannot open the lock {path}") from error
    try:
        _acquire(descriptor, path, wait=wait)
        _write_holder(descriptor, path, f"process {os.getpid()} on {socket.gethostname()}\n")
        try:
            yield
        finally:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            # Closing alone would leave the lock to a child that was forked meanwhile.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, *, wait: bool) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            holder = _living_holder(descriptor)
            # Between taking the lock and signing it, or after a kill, the file names nobody alive.
            if holder is None and time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            raise LockedError(
                f"{path.parent} is locked by {holder or 'another process'}",
                hint="Wait for it to end, or give --wait to start when it does.",
            ) from error
        except OSError as error:
            raise storage_error(error, f"cannot lock {path}") from error
        else:
            return


def _living_holder(descriptor: int) -> str | None:
    found = _HOLDER.fullmatch(os.pread(descriptor, 4096, 0).decode(errors="replace"))
    if found is None or (found[2] == socket.gethostname() and not _is_alive(int(found[1]))):
        return None
    return found[0].strip()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _write_holder(descriptor: int, path: Path, text: str) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
    except OSError as error:
        raise storage_error(error, f"cannot write {path}") from error


def is_locked(path: Path) -> bool:
    """Return whether a process has locked the file `path`; it is not created.

    Raises:
        StorageError: The file cannot be opened, or its file system knows no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error(error, f"cannot open the lock {path}") from error
    try:
        # Shared and for a moment: a process that starts meanwhile tries again.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        raise storage_error(error, f"cannot lock {path}") from error
    finally:
        os.close(descriptor)
    return False
