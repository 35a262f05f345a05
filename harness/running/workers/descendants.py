"""Make sure that no process outlives the one that started it, by the means of the system."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator
from typing import Final

import psutil

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
WATCH_SECONDS: Final = 1.0


def die_with_parent(parent: int) -> None:
    """Have this process killed when its parent ends, however the parent ends.

    On Linux the kernel does it. Elsewhere a thread watches, which needs the interpreter to run now and then.

    Args:
        parent: the process id the parent is known to have; if it is gone already, this process ends at once.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def outlive_parent() -> None:
    """Take back `die_with_parent` on Linux: from here on this process notices by itself.

    Should it have been stopped by then, the kernel has it go on when the parent ends, so that it does.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)


@contextlib.contextmanager
def dying_with(parent: int) -> Iterator[None]:
    """Be killed when the parent ends meanwhile (Linux); afterwards this process notices by itself."""
    if sys.platform == "linux":
        die_with_parent(parent)
    try:
        yield
    finally:
        outlive_parent()


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (Linux; elsewhere init does)."""
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def signal_group(leader: int, number: int) -> None:
    """Send a signal to a process group; one that is gone, or not ours, is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def kill_strays(leaders: Collection[int]) -> None:
    """Kill adopted processes, and all below them, that belong to none of the live trials' sessions.

    A trial's process that left its session and lost its parent is a daemon; no trial may leave one behind.
    """
    if not _has_children():
        return
    for child in psutil.Process().children():
        if child.pid in leaders or _session(child.pid) in leaders:
            continue
        for process in (*_below(child), child):
            with contextlib.suppress(psutil.Error):
                process.kill()


def _has_children() -> bool:
    """Whether this process has any child: the kernel knows without a look at every process there is."""
    if not hasattr(os, "waitid"):  # pragma: no cover
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    signal_group(os.getpgrp(), signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
