"""One trial that runs: its clock, what it has said so far, and when it was told to stop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from harness.foreign import open_regular
from harness.model.job import Job, Progress
from harness.model.status import Phase
from harness.running.limits import Limits, limits_of, overrun
from harness.running.workers.trial_files import PROGRESS

_READ_BYTES: Final = 2**20
_LONGEST_LINE: Final = 2**16


@dataclass(slots=True)
class Running:
    """A trial in a worker's hands. Times are of the monotonic clock, in seconds."""

    job: Job
    folder: Path
    since: float
    oom_kills_before: int
    pid: int | None = None
    phase: Phase = "start"
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
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
        """The limit that the trial is beyond, as a sentence."""
        silent_s = now - (self.since if self._heard_at is None else self._heard_at)
        limits: Limits = limits_of(self.job.measure)
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
