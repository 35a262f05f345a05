"""Run jobs in processes of this machine: forked from a warm server, watched, stopped and judged."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from harness.machine.facts import describe_environment
from harness.machine.host_memory import nearly_all_memory, oom_kills
from harness.machine.redaction import redact
from harness.model.job import Job
from harness.model.results import TrialResult
from harness.running.executor import Ended, Event, Progressed
from harness.running.workers.judging import Ending, judge
from harness.running.workers.log_tail import log_tail
from harness.running.workers.server_process import ServerEvent, ServerProcess
from harness.running.workers.supervision import Running
from harness.running.workers.trial_files import LOG, prepare_folder, result_left
from harness.running.workers.worker import DISK_FULL
from harness.store.trial_folder import keep_result
from harness.store.writing import storage_error

_START_FAILURES: Final = 2
_POLL_WHILE_STOPPING_S: Final = 0.05
# A worker that is killed is reaped within moments, unless a driver takes long to free its device.
SERVER_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Place:
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


class LocalExecutor:
    """An executor on this machine, over one fork server at a time.

    Args:
        place: where and how workers run.
        grace_s: how long a worker that is told to stop may take before it is killed.
        server_s: how long the fork server may take to report the end of a worker that was killed; then it is
            killed itself, with all that it runs.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        place: Place,
        *,
        grace_s: float,
        server_s: float = SERVER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._grace_s = grace_s
        self._server_s = server_s
        self._clock = clock
        self._redact = partial(redact, secrets=place.secrets)
        self._server: ServerProcess | None = None
        self._running: dict[str, Running] = {}
        self._ended: list[Ended] = []
        self._stopping = False
        self._start_failures = 0
        self._last_failure = ""

    def submit(self, job: Job, folder: Path) -> None:
        """Clear the folder of an earlier attempt and give the job to a worker."""
        running = Running(job, folder, since=self._clock(), oom_kills_before=oom_kills())
        if (problem := prepare_folder(folder, job)) is not None:
            self._end(running, Ending(refused=problem))
            return
        if self._start_failures >= _START_FAILURES:
            self._end(running, Ending(refused=f"{self._last_failure} (tried {_START_FAILURES} times)"))
            return
        self._running[str(folder)] = running
        if self._server is None:
            place = self._place
            self._server = ServerProcess(
                place.runner, place.environ, place.folder, place.secrets, python=place.python
            )
        self._server.fork(folder)

    def poll(self, timeout_s: float) -> Sequence[Event]:
        """Progress and endings since the last call."""
        happened: list[Event] = []
        if self._server is not None and not self._ended:
            events = self._server.events(timeout_s)
            # What a worker has said comes before how it ended.
            happened.extend(self._listen())
            if events is None:
                self._bury_server(self._server)
            for event in events or ():
                self._take(event)
        self._enforce_limits()
        happened.extend(self._ended)
        self._ended = []
        return happened

    def stop(self, grace_s: float) -> Sequence[TrialResult]:
        """Interrupt every worker and end the server."""
        self._stopping = True
        deadline = self._clock() + grace_s
        for running in list(self._running.values()):
            self._signal(running, signal.SIGTERM)
        results: list[TrialResult] = []
        while self._running and self._clock() < deadline and not self._is_stopped():
            results += [
                event.result for event in self.poll(_POLL_WHILE_STOPPING_S) if isinstance(event, Ended)
            ]
        if self._server is not None:
            self._bury_server(self._server)
        return [*results, *(event.result for event in self.poll(0.0) if isinstance(event, Ended))]

    def _listen(self) -> Iterator[Progressed]:
        now = self._clock()
        for running in self._running.values():
            for progress in running.listen(now):
                yield Progressed(running.job.trial, progress)

    def _take(self, event: ServerEvent) -> None:
        if event.event == "ready":
            self._start_failures = 0
        elif (running := self._running.get(event.folder)) is None:
            # Of a trial that has ended already.
            return
        elif event.event == "started":
            running.pid = event.pid
        else:
            del self._running[event.folder]
            refused = Ending(refused=event.reason)
            self._end(running, refused if event.event == "refused" else self._ending(running, event))

    def _ending(self, running: Running, event: ServerEvent) -> Ending:
        status, max_rss_bytes = event.status, event.max_rss_bytes
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        ran_out = oom_kills() > running.oom_kills_before or nearly_all_memory(max_rss_bytes)
        return Ending(
            code=None if number is not None else os.waitstatus_to_exitcode(status),
            signal=number,
            max_rss_bytes=max_rss_bytes,
            memory_ran_out=ran_out,
            overrun=running.overrun,
        )

    def _enforce_limits(self) -> None:
        now = self._clock()
        for running in list(self._running.values()):
            if running.kill_at is None:
                if sentence := running.over_limit(now):
                    running.overrun = sentence
                    running.kill_at = now + self._grace_s
                    self._signal(running, signal.SIGTERM)
            elif now >= running.kill_at:
                self._kill(running, now)

    def _kill(self, running: Running, now: float) -> None:
        """Kill a worker, and the server where it does not see to that."""
        if self._server is None:
            return
        if running.give_up_at is None:
            running.give_up_at = now + self._server_s
            self._signal(running, signal.SIGKILL)
        if self._is_stopped() or now >= running.give_up_at:
            self._bury_server(self._server, "did not respond and was killed")

    def _is_stopped(self) -> bool:
        return self._server is not None and self._server.is_stopped()

    def _signal(self, running: Running, number: int) -> None:
        if self._server is None:
            return
        if running.pid is not None:
            self._server.signal(running.pid, number)
        else:
            # The server itself hangs, in an import or on a lock: there is nothing else to end.
            self._bury_server(self._server)

    def _bury_server(self, server: ServerProcess, what: str = "ended") -> None:
        """End the server, if it has not ended, and all that it ran; `what` it did is for their reasons."""
        self._server = None
        how = server.stop()
        words = self._redact(server.last_words())
        if not server.ready:
            self._start_failures += 1
            self._last_failure = f"what trains could not be imported ({how}): {words}"
        for running in self._running.values():
            lost = f"its fork server {what} ({how}): {words}"
            # Where a worker is beyond its own limit, and its server then did not respond: both reasons.
            overrun = running.overrun and f"{running.overrun}; {lost}"
            ending = Ending(overrun=overrun, lost=lost) if server.ready else self._never_started(running)
            self._end(running, ending)
        self._running.clear()

    def _never_started(self, running: Running) -> Ending:
        return Ending(overrun=running.overrun, refused=None if running.overrun else self._last_failure)

    def _end(self, running: Running, ending: Ending) -> None:
        left = result_left(running.folder)
        if isinstance(left, TrialResult) and left.status == DISK_FULL and not self._stopping:
            # No trial after this one could do better, and all of them will run again once there is space.
            raise storage_error(
                OSError(errno.ENOSPC, ""), f"trial {left.trial.id} in {left.phase}: {left.reason}"
            )
        judgement = judge(
            running.job,
            left,
            replace(ending, interrupted=self._stopping),
            phase=running.phase,
            started=running.started,
            duration_s=self._clock() - running.since,
        )
        result = judgement.result
        if result.status != "completed":
            result = self._complete(result, running.job, running.folder)
            # An interrupted trial leaves no result: the same as if it had not been started.
            if result.status != "interrupted":
                result = keep_result(running.folder, result)
        self._ended.append(Ended(result, judgement.may_retry))

    def _complete(self, result: TrialResult, job: Job, folder: Path) -> TrialResult:
        """Add what a worker that did not complete cannot say: the end of its log, and where it ran."""
        environment = result.environment or describe_environment(threads=self._place.threads)
        return result.model_copy(
            update={
                "reason": self._redact(result.reason or "it gave no reason"),
                "log_tail": result.log_tail or self._redact(log_tail(folder / LOG)),
                "environment": environment,
                "concurrent": job.concurrent,
            }
        )
