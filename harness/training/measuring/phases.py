"""Timing the phases of a trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from harness.model.job import Announce, Progress
from harness.model.measurements import Measurement, measured, unmeasured
from harness.model.status import Phase

# `train_seconds` is the sum of the steps, which the step meter knows better.
_TIMED_PHASES: Final[tuple[Phase, ...]] = (
    "load_data",
    "tokenize",
    "load_model",
    "roofline",
    "compile",
    "evaluate",
    "write",
)


class PhaseClock:
    """Seconds spent in each phase of a trial. Phases may nest; time counts for the inner one alone."""

    def __init__(self, announce: Announce, now: Callable[[], float] = time.perf_counter) -> None:
        self.announce = announce
        self._now = now
        self._open: list[Phase] = []
        self._since = now()
        self.seconds: dict[Phase, float] = {}

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Announce the phase and time the body of the context."""
        self._charge()
        self._open.append(name)
        self.announce(Progress(phase=name))
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def _charge(self) -> None:
        now = self._now()
        if self._open:
            phase = self._open[-1]
            self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now

    def measurements(self) -> list[Measurement]:
        """Seconds of every phase; null with a reason for one that the engine does not have."""
        return [
            measured(f"{phase}_seconds", self.seconds[phase])
            if phase in self.seconds
            else unmeasured(f"{phase}_seconds", "this engine has no such phase")
            for phase in _TIMED_PHASES
        ]
