"""Run jobs in processes of this machine: forked from a warm server, watched, stopped and judged."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from harness.errors import StorageError
from harness.foreign import open_regular
from harness.machine.facts import describe_environment, nearly_all_memory, oom_kills
from harness.model.environment import Environment
from harness.model.job import Job, Progress
from harness.model.results import TrialResult
from harness.model.status import StatusName
from harness.model.suite import Measure
from harness.running.executor import AttemptExecutor, Progressed, WorkerSetup
from harness.running.workers.judging import Attempt, exit_cause
from harness.running.workers.server_process import ServerEvent, ServerProcess
from harness.running.workers.worker import DISK_FULL
from harness.store.trial_folder import PROGRESS, read_lost_rank
from harness.store.writing import WHAT_TO_DO

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


_START_FAILURES: Final = 2
# A worker that is killed is reaped within moments, unless a driver takes long to free its device.
SERVER_SECONDS: Final = 15.0


class LocalExecutor(AttemptExecutor[Supervised]):
    """An executor on this machine, over one fork server at a time.

    Args:
        setup: where and how workers run.
        grace_s: how long a worker that is told to stop may take before it is killed.
        server_s: how long the fork server may take to report the end of a worker that was killed; then it is
            killed itself, with all that it runs.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        *,
        grace_s: float,
        server_s: float = SERVER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(setup, clock)
        self._grace_s = grace_s
        self._server_s = server_s
        self._server: ServerProcess | None = None
        self._start_failures = 0
        self._last_failure = ""

    def _attempt(self, job: Job, folder: Path) -> Supervised:
        return Supervised(job, folder, since=self._clock(), oom_kills_before=oom_kills())

    def _start(self, attempt: Supervised) -> None:
        if self._start_failures >= _START_FAILURES:
            reason = f"{self._last_failure} (tried {_START_FAILURES} times)"
            self._end(attempt, "failed", reason, started=False)
            return
        if self._server is None:
            setup = self._setup
            self._server = ServerProcess(
                setup.runner, setup.environ, setup.folder, setup.secrets, python=setup.python
            )
        self._server.fork(attempt.folder)

    def _hear(self, timeout_s: float) -> Sequence[Progressed]:
        heard: list[Progressed] = []
        if self._server is not None:
            events = self._server.events(timeout_s)
            heard.extend(self._listen())
            if events is None:
                self._end_server(self._server)
            for event in events or ():
                self._take(event)
        self._enforce_limits()
        return heard

    def _cancel(self, attempt: Supervised) -> None:
        self._signal(attempt, signal.SIGTERM)

    def _close(self) -> None:
        if self._server is not None:
            self._end_server(self._server)

    def _responds(self) -> bool:
        return self._server is None or not self._server.is_stopped()

    def _accept(self, result: TrialResult) -> None:
        if result.status == DISK_FULL and not self._stopping:
            # No trial after this one could do better, and all of them will run again once there is space.
            raise StorageError(
                f"trial {result.trial.id} in {result.phase}: {result.reason}", hint=WHAT_TO_DO[errno.ENOSPC]
            )

    def _environment(self) -> Environment:
        return describe_environment(threads=self._setup.threads)

    def _listen(self) -> Iterator[Progressed]:
        now = self._clock()
        for attempt in self._running:
            for progress in attempt.listen(now):
                yield Progressed(attempt.job.trial, progress)

    def _take(self, event: ServerEvent) -> None:
        if event.event == "ready":
            self._start_failures = 0
            return
        attempt = next((one for one in self._running if str(one.folder) == event.folder), None)
        if attempt is None:
            # Of a trial that has ended already.
            return
        if event.event == "started":
            attempt.pid = event.pid
        elif event.event == "refused":
            self._end(attempt, "failed", event.reason, started=False)
        elif attempt.overrun is not None:
            self._end(attempt, "timeout", attempt.overrun)
        else:
            ran_out = oom_kills() > attempt.oom_kills_before or nearly_all_memory(event.max_rss_bytes)
            self._end(
                attempt,
                *_cause(attempt, event.status, memory_ran_out=ran_out),
                peak_bytes=event.max_rss_bytes,
            )

    def _enforce_limits(self) -> None:
        now = self._clock()
        for attempt in list(self._running):
            if attempt.kill_at is None:
                if sentence := attempt.over_limit(now):
                    attempt.overrun = sentence
                    attempt.kill_at = now + self._grace_s
                    self._signal(attempt, signal.SIGTERM)
            elif now >= attempt.kill_at:
                self._kill(attempt, now)

    def _kill(self, attempt: Supervised, now: float) -> None:
        """Kill a worker, and the server where it does not see to that."""
        if self._server is None:
            return
        if attempt.give_up_at is None:
            attempt.give_up_at = now + self._server_s
            self._signal(attempt, signal.SIGKILL)
        if not self._responds() or now >= attempt.give_up_at:
            self._end_server(self._server, "did not respond and was killed")

    def _signal(self, attempt: Supervised, number: int) -> None:
        if self._server is None:
            return
        if attempt.pid is not None:
            self._server.signal(attempt.pid, number)
        else:
            # The server itself hangs, in an import or on a lock: there is no worker to end.
            self._end_server(self._server)

    def _end_server(self, server: ServerProcess, what: str = "ended") -> None:
        """End the server, if it has not ended, and all that it ran; `what` it did is for their reasons."""
        self._server = None
        how = server.stop()
        words = self._redact(server.last_words())
        if not server.ready:
            self._start_failures += 1
            self._last_failure = f"the runner could not be imported ({how}): {words}"
        lost = f"its fork server {what} ({how}): {words}"
        for attempt in list(self._running):
            if not server.ready and attempt.overrun is None:
                self._end(attempt, "failed", self._last_failure, started=False)
            elif not server.ready:
                self._end(attempt, "timeout", attempt.overrun or "")
            elif attempt.overrun is not None:
                # A worker exceeded its limit, and its server then did not respond: both reasons.
                self._end(attempt, "timeout", f"{attempt.overrun}; {lost}")
            else:
                self._end(attempt, "killed", lost)


def _cause(attempt: Attempt, wait_status: int, *, memory_ran_out: bool) -> tuple[StatusName, str]:
    """Return why a worker ended without a result; of several ranks, the one that ended first and why."""
    world_size = attempt.job.trial.world_size
    if world_size == 1:
        return exit_cause(wait_status, memory_ran_out=memory_ran_out)
    lost = read_lost_rank(attempt.folder)
    rank, status = (0, wait_status) if lost is None else (lost.rank, lost.signal)
    return exit_cause(status, memory_ran_out=memory_ran_out, who=f"rank {rank} of {world_size}")
