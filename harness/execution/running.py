"""One trial that runs: its clock, what it has said so far, and when it was told to stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from harness.execution.limits import Limits, limits_of, overrun
from harness.execution.trial_files import PROGRESS
from harness.job import Job, Progress
from harness.results.models import Phase


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
    _heard_at: float | None = None
    _read: int = 0
    _rest: bytes = b""

    def listen(self, now: float) -> Iterator[Progress]:
        """The progress announced since the last call; any growth of the file is a sign of life."""
        for line in self._new_lines(now):
            try:
                progress = Progress.model_validate_json(line)
            except ValidationError:
                continue
            self.phase = progress.phase
            yield progress

    def over_limit(self, now: float) -> str | None:
        """The limit that the trial is beyond, as a sentence."""
        silent_s = now - (self.since if self._heard_at is None else self._heard_at)
        limits: Limits = limits_of(self.job.measure)
        return overrun(
            limits, elapsed_s=now - self.since, silent_s=silent_s, heard=self._heard_at is not None
        )

    def _new_lines(self, now: float) -> list[bytes]:
        try:
            with (self.folder / PROGRESS).open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except OSError:
            return []
        if not data:
            return []
        self._read += len(data)
        self._heard_at = now
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines
