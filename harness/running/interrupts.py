"""Ctrl-C and SIGTERM: the first asks the run to end in order, the second ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from harness.errors import after_signal

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupt(KeyboardInterrupt):
    """Raised at the step that was interrupted; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number
        self.exit_code = after_signal(number)


class Interrupts:
    """What has been asked of the run so far. `first` is the first signal's number, or None.

    Outside `patient` the first signal raises too: nothing is lost by stopping while the run looks for assets
    or waits for a lock.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self._patient = False

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Within, the first signal is only noted; whoever runs there looks at `first`."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def take(self, number: int, _frame: FrameType | None = None) -> None:
        """Handle a signal."""
        again = self.first is not None
        if self.first is None:
            self.first = number
        if again or not self._patient:
            # From here on the process ends by itself within moments, whatever else comes.
            for known in SIGNALS:
                signal.signal(known, signal.SIG_IGN)
            raise Interrupt(number)


@contextmanager
def listen() -> Iterator[Interrupts]:
    """Handle the signals within, in the main thread; elsewhere, and for ignored ones, nothing is changed."""
    interrupts = Interrupts()
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupts.take)
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
