"""The seam between deciding what runs when and running it: an executor and what it reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.model.job import Job, Progress
from harness.model.results import TrialResult
from harness.model.trial import Trial


@dataclass(frozen=True, slots=True)
class Progressed:
    """A trial's worker has said where it is."""

    trial: Trial
    progress: Progress


@dataclass(frozen=True, slots=True)
class Ended:
    """A trial has ended. `may_retry` says whether another attempt could end otherwise."""

    result: TrialResult
    may_retry: bool = False


Event = Progressed | Ended


class Executor(Protocol):
    """Runs jobs somewhere. What is submitted starts; a caller submits no more than should run at once."""

    def submit(self, job: Job, folder: Path) -> None:
        """Start the job; its files go into the trial's folder."""

    def poll(self, timeout_s: float) -> Sequence[Event]:
        """What has happened since, waiting for at most `timeout_s` when nothing has."""

    def stop(self, grace_s: float) -> Sequence[TrialResult]:
        """End all that runs, gently for `grace_s`, then by force; a result for each, mostly `interrupted`."""
