"""The seam between deciding which trial runs when and running it: executors, and the loop that they share."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from harness.foreign import last_lines
from harness.machine.redaction import redact
from harness.model.environment import Environment
from harness.model.job import Job, Progress
from harness.model.results import TrialResult
from harness.model.status import StatusName
from harness.model.trial import Trial
from harness.running.workers.judging import Attempt, Ended, judge, own_result
from harness.store.trial_folder import LOG, keep_result, prepare_folder, result_left

_POLL_WHILE_STOPPING_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """Where and how workers run.

    `runner` is `module:function`; `folder` the run directory; `environ` the workers' whole environment;
    `secrets` are values to keep out of every file; `python` is the interpreter that imports the runner.
    """

    runner: str
    folder: Path
    environ: Mapping[str, str]
    threads: int
    secrets: tuple[str, ...] = ()
    python: str = sys.executable


@dataclass(frozen=True, slots=True)
class Progressed:
    """A trial's worker has announced where it is."""

    trial: Trial
    progress: Progress


Event = Progressed | Ended


class Executor(Protocol):
    """Runs jobs. Every submitted job starts; a caller limits how many run concurrently."""

    def submit(self, job: Job, folder: Path) -> None:
        """Start the job; its files go into the trial's folder."""

    def poll(self, timeout_s: float) -> Sequence[Event]:
        """Return what has happened since the last call, waiting for at most `timeout_s` when nothing has."""

    def stop(self, grace_s: float) -> Sequence[TrialResult]:
        """End all that runs, gently for `grace_s`, then by force; a result for each, mostly `interrupted`."""


A = TypeVar("A", bound=Attempt)


class AttemptExecutor(ABC, Generic[A]):
    """An executor that waits for attempts, judges how they ended, and stores the results that are missing.

    A subclass starts attempts, hears of them, and ends them.

    Args:
        setup: what a trial is run by.
        clock: monotonic seconds.
    """

    def __init__(self, setup: WorkerSetup, clock: Callable[[], float] = time.monotonic) -> None:
        self._setup = setup
        self._clock = clock
        self._redact = partial(redact, secrets=setup.secrets)
        self._running: list[A] = []
        self._ended: list[Ended] = []
        self._stopping = False

    def submit(self, job: Job, folder: Path) -> None:
        """Clear the folder of an earlier attempt and start the job."""
        attempt = self._attempt(job, folder)
        self._running.append(attempt)
        if (problem := prepare_folder(folder, job)) is not None:
            self._end(attempt, "failed", problem, started=False)
        else:
            self._start(attempt)

    def poll(self, timeout_s: float) -> Sequence[Event]:
        """Return progress and endings since the last call; what a worker announced precedes how it ended."""
        happened: list[Event] = [*self._hear(0.0 if self._ended else timeout_s)]
        happened += self._ended
        self._ended = []
        return happened

    def stop(self, grace_s: float) -> Sequence[TrialResult]:
        """Ask every attempt to end, wait for `grace_s`, and kill the remaining ones."""
        self._stopping = True
        deadline = self._clock() + grace_s
        for attempt in list(self._running):
            self._cancel(attempt)
        results: list[TrialResult] = []
        while self._running and self._responds() and self._clock() < deadline:
            results += _results(self.poll(_POLL_WHILE_STOPPING_S))
        self._close()
        for attempt in list(self._running):
            self._end(attempt, "interrupted", "")
        return [*results, *_results(self.poll(0.0))]

    @abstractmethod
    def _attempt(self, job: Job, folder: Path) -> A:
        """Return a new attempt at the job."""

    @abstractmethod
    def _start(self, attempt: A) -> None:
        """Start an attempt whose folder is prepared, or end it where that is impossible."""

    @abstractmethod
    def _hear(self, timeout_s: float) -> Sequence[Progressed]:
        """Wait for news, end the attempts that have ended, and return the progress of the others."""

    @abstractmethod
    def _cancel(self, attempt: A) -> None:
        """Ask an attempt to end."""

    @abstractmethod
    def _close(self) -> None:
        """End all that runs by force."""

    def _responds(self) -> bool:
        """Whether waiting for attempts to end makes sense."""
        return True

    def _accept(self, result: TrialResult) -> None:
        """Look at a worker's own result before it counts."""

    def _environment(self) -> Environment | None:
        """Where an attempt ran that left no result; None if unknown."""
        return None

    def _end(
        self, attempt: A, status: StatusName, reason: str, *, started: bool = True, peak_bytes: int = 0
    ) -> None:
        """End an attempt, for that reason unless its worker left a result or the run is being stopped."""
        self._running.remove(attempt)
        left = result_left(attempt.folder)
        if (own := own_result(attempt, left)) is not None:
            self._accept(own)
            self._ended.append(Ended(self._redacted(own)))
            return
        if self._stopping:
            status, reason, started = "interrupted", "the run was interrupted", True
        ended = judge(
            attempt,
            status,
            reason,
            left,
            duration_s=self._clock() - attempt.since,
            started=started,
            peak_bytes=peak_bytes,
            environment=self._environment(),
        )
        tail = {"log_tail": last_lines(attempt.folder / LOG)}
        self._store(attempt, Ended(ended.result.model_copy(update=tail), ended.may_retry))

    def _store(self, attempt: A, ended: Ended) -> None:
        """Write the result that no worker wrote. An interrupted trial leaves none: it runs again."""
        result = self._redacted(ended.result)
        if result.status != "interrupted":
            result = keep_result(attempt.folder, result)
        self._ended.append(Ended(result, ended.may_retry))

    def _redacted(self, result: TrialResult) -> TrialResult:
        if result.status == "completed":
            return result
        return result.model_copy(
            update={
                "reason": self._redact(result.reason or "it gave no reason"),
                "log_tail": self._redact(result.log_tail),
            }
        )


def _results(events: Sequence[Event]) -> list[TrialResult]:
    return [event.result for event in events if isinstance(event, Ended)]
