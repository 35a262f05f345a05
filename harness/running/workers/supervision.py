"""A trial that runs in a worker: its time limits, the progress it has announced, and when it was stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from harness.foreign import open_regular
from harness.model.job import Progress
from harness.model.suite import Measure
from harness.running.workers.judging import Attempt
from harness.store.trial_folder import PROGRESS

_READ_BYTES: Final = 2**20
_LONGEST_LINE: Final = 2**16


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a trial may take, in seconds: in total, until its first progress, and without new progress."""

    trial_s: float | None
    start_s: float
    stall_s: float


def limits_of(measure: Measure) -> Limits:
    """The limits that a suite sets."""
    return Limits(measure.trial_timeout_seconds, measure.start_timeout_seconds, measure.stall_timeout_seconds)


def overrun(limits: Limits, *, elapsed_s: float, silent_s: float, heard: bool) -> str | None:
    """Return the limit that a running trial exceeds, as a sentence; None while it is within all of them.

    Args:
        limits: the trial's limits.
        elapsed_s: since it was given to a worker.
        silent_s: since it last announced progress.
        heard: whether it has announced any yet.
    """
    if limits.trial_s is not None and elapsed_s > limits.trial_s:
        return f"took longer than trial_timeout_seconds = {limits.trial_s:g}"
    if not heard and elapsed_s > limits.start_s:
        return f"showed no progress within start_timeout_seconds = {limits.start_s:g}"
    if heard and silent_s > limits.stall_s:
        return f"made no progress for stall_timeout_seconds = {limits.stall_s:g}"
    return None


@dataclass(slots=True, eq=False)
class Supervised(Attempt):
    """An attempt in a worker of this machine. Times are of the monotonic clock, in seconds."""

    oom_kills_before: int = 0
    pid: int | None = None
    overrun: str | None = None
    kill_at: float | None = None
    give_up_at: float | None = None
    _heard_at: float | None = None
    _read: int = 0
    _rest: bytes = b""

    def listen(self, now: float) -> Iterator[Progress]:
        """Yield the progress announced since the last call; only a valid line is a sign of life."""
        for line in self._new_lines():
            try:
                progress = Progress.model_validate_json(line)
            except ValidationError:
                continue
            self.phase = progress.phase
            self._heard_at = now
            yield progress

    def over_limit(self, now: float) -> str | None:
        """Return the limit that the trial exceeds, as a sentence."""
        silent_s = now - (self.since if self._heard_at is None else self._heard_at)
        limits = limits_of(self.job.measure)
        return overrun(
            limits, elapsed_s=now - self.since, silent_s=silent_s, heard=self._heard_at is not None
        )

    def _new_lines(self) -> list[bytes]:
        """Return the next whole lines, at most a mebibyte of them."""
        try:
            with os.fdopen(open_regular(self.folder / PROGRESS, follow=False), "rb") as file:
                file.seek(self._read)
                data = file.read(_READ_BYTES)
        except OSError:
            return []
        self._read += len(data)
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest if len(rest) <= _LONGEST_LINE else b""
        return lines
