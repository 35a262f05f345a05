"""Ctrl-C while modules are imported."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[None]:
    """Within, Ctrl-C ends the process at once, unless it is ignored or handled by somebody else.

    KeyboardInterrupt would not do: modules that try an optional import under a bare `except` swallow it, and
    so does the import system in its weak references. No work is lost while modules are imported.
    """
    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if is_ours:
        signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    # Standard error may be closed, and its buffer may be in use by the code that is interrupted.
    try:
        os.write(2, b"error: interrupted\n")
    finally:
        os._exit(130)
