"""What all tests share."""

from __future__ import annotations

import signal
from types import FrameType

from hypothesis import HealthCheck, settings

# A slow day must fail no test: what takes long is measured by benchmarks.
settings.register_profile("harness", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("harness")


def pytest_configure() -> None:
    """Give the programs that tests start the default signal handlers, whatever this process inherited.

    `nohup`, and a non-interactive shell for a job in its background, ignore signals for all that they start.
    A program inherits that, but not a handler: with one that does nothing, this process still ignores them.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _do_nothing)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal that this process was started to ignore."""
