"""Run jobs on a Ray cluster: Ray chooses a node, the node runs the trial, this machine writes its result."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from harness.errors import UnavailableError
from harness.machine.redaction import redact
from harness.model.job import Job
from harness.model.results import Phase, TrialResult
from harness.running.executor import Ended, Event, Progressed
from harness.running.ray.messages import Heard, Node, Request
from harness.running.workers.judging import Ending, Judgement, judge
from harness.running.workers.local import Place
from harness.running.workers.trial_files import LOG, prepare_folder, result_left
from harness.store.trial_folder import keep_result

_POLL_WHILE_STOPPING_S: Final = 0.05


class Connection(Protocol):
    """What the executor needs of a connection to a cluster."""

    nodes: Sequence[Node]

    def send(self, order: Mapping[str, Any]) -> None:
        """Give an order."""

    def heard(self, timeout_s: float) -> Sequence[Heard] | None:
        """What was heard of attempts; None when the connection has ended."""

    def last_words(self) -> str:
        """The last line that Ray said, after the connection has ended."""

    def close(self) -> None:
        """End it, and all that it has started."""


def fits(node: Node, device: str, threads: int) -> bool:
    """Whether the node can ever run a trial of so many threads on such a device."""
    return node.problem is None and node.cpus >= threads and (device == "cpu" or node.gpus >= 1)


@dataclass(slots=True)
class _Attempt:
    """An attempt at a trial, as far as it has been heard of. `since` is in seconds of the monotonic clock."""

    job: Job
    folder: Path
    since: float
    phase: Phase = "start"
    started: datetime = field(default_factory=lambda: datetime.now(UTC))


class RayExecutor:
    """An executor on a Ray cluster.

    Args:
        place: what runs a trial, with how many threads, and what to keep out of every file.
        connection: to the cluster; closed when the executor is stopped.
        grace_s: how long a worker that is told to stop may take before it is killed.
        clock: monotonic seconds.

    Raises:
        UnavailableError: no node has as many CPUs as a trial has threads.
    """

    def __init__(
        self,
        place: Place,
        connection: Connection,
        *,
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._connection = connection
        self._grace_s = grace_s
        self._clock = clock
        self._redact = partial(redact, secrets=place.secrets)
        self._attempts: dict[int, _Attempt] = {}
        self._number = 0
        self._ended: list[Ended] = []
        self._lost: str | None = None
        self._stopping = False
        if not any(fits(node, "cpu", place.threads) for node in connection.nodes):
            most = max((node.cpus for node in connection.nodes), default=0.0)
            raise UnavailableError(
                f"a trial takes {place.threads} CPUs, a thread each, and no node of the Ray cluster has more "
                f"than {most:g}",
                hint="Set measure.threads in the suite, or -s measure.threads=N, to what a node has.",
            )

    def submit(self, job: Job, folder: Path) -> None:
        """Clear the folder of an earlier attempt and give the job to Ray."""
        problem = prepare_folder(folder, job)
        self._number += 1
        self._attempts[self._number] = _Attempt(job, folder, self._clock())
        if problem is not None:
            self._end(self._number, Ending(refused=problem))
            return
        if self._lost is not None:
            self._end(self._number, Ending(lost=self._lost))
            return
        threads = self._place.threads
        if not any(fits(node, job.trial.device, threads) for node in self._connection.nodes):
            # Ray would wait for such a node without end.
            what = f"a GPU and {threads} CPUs, one for each thread of a trial"
            self._end(self._number, Ending(refused=f"no node of the cluster has {what}"))
            return
        sent = job.model_copy(update={"measure": job.measure.model_copy(update={"threads": threads})})
        request = Request(
            number=self._number, job=sent, runner=self._place.runner, threads=threads, grace_s=self._grace_s
        )
        self._connection.send(
            {
                "submit": self._number,
                "cpus": threads,
                "gpus": 1 if job.trial.device.startswith("cuda") else 0,
                "name": f"harness trial {job.trial.id}",
                "request": request.model_dump_json(),
            }
        )

    def poll(self, timeout_s: float) -> Sequence[Event]:
        """Progress and endings since the last call."""
        happened: list[Event] = []
        if not self._ended and self._lost is None:
            heard = self._connection.heard(timeout_s)
            if heard is None:
                self._lose()
            for one in heard or ():
                happened.extend(self._take(one))
        happened.extend(self._ended)
        self._ended = []
        return happened

    def stop(self, grace_s: float) -> Sequence[TrialResult]:
        """Cancel every trial, wait for the cluster to say so, and close the connection."""
        self._stopping = True
        deadline = self._clock() + grace_s
        for number in self._attempts:
            self._connection.send({"cancel": number})
        results: list[TrialResult] = []
        while self._attempts and self._clock() < deadline:
            results += [
                event.result for event in self.poll(_POLL_WHILE_STOPPING_S) if isinstance(event, Ended)
            ]
        self._connection.close()
        for number in list(self._attempts):
            self._end(number, Ending(interrupted=True))
        results += [event.result for event in self._ended]
        self._ended = []
        self._lost = "the run was stopped"
        return results

    def _take(self, heard: Heard) -> Iterator[Progressed]:
        """Act on what was heard; nothing more is wanted of an attempt that has ended."""
        attempt = self._attempts.get(heard.number)
        if attempt is None:
            return
        if heard.progress is not None:
            attempt.phase = heard.progress.phase
            yield Progressed(attempt.job.trial, heard.progress)
            return
        where = "" if heard.node is None else f" on {heard.node}"
        ending = Ending(refused=heard.refused, lost=None if heard.lost is None else f"{heard.lost}{where}")
        if heard.memory_ran_out:
            ending = Ending(signal=signal.SIGKILL, memory_ran_out=True)
        elif heard.result is not None:
            self._write_log(attempt.folder, heard.log)
            ending = Ending(lost=f"the node gave the result of another trial, {heard.result.trial.id}{where}")
        self._end(heard.number, ending, heard)

    def _lose(self) -> None:
        self._lost = f"the connection to the Ray cluster ended: {self._redact(self._connection.last_words())}"
        self._connection.close()
        for number in list(self._attempts):
            self._end(number, Ending(lost=self._lost))

    def _end(self, number: int, ending: Ending, heard: Heard | None = None) -> None:
        attempt = self._attempts.pop(number)
        judgement = self._judge(attempt, ending, heard)
        result = judgement.result
        left = result_left(attempt.folder)
        if isinstance(left, TrialResult) and left.trial == attempt.job.trial:
            # Whoever wrote it was first.
            result = left
        elif result.status != "interrupted":
            result = result.model_copy(
                update={
                    "reason": None if result.reason is None else self._redact(result.reason),
                    "log_tail": self._redact(result.log_tail),
                }
            )
            result = keep_result(attempt.folder, result)
        self._ended.append(Ended(result, judgement.may_retry))

    def _judge(self, attempt: _Attempt, ending: Ending, heard: Heard | None) -> Judgement:
        if heard is not None and heard.result is not None and heard.result.trial == attempt.job.trial:
            return Judgement(heard.result, heard.may_retry)
        if self._stopping:
            ending = Ending(interrupted=True)
        judgement = judge(
            attempt.job,
            "its node sent no result",
            ending,
            phase=attempt.phase,
            started=attempt.started,
            duration_s=self._clock() - attempt.since,
        )
        at_once = {"concurrent": attempt.job.concurrent}
        return replace(judgement, result=judgement.result.model_copy(update=at_once))

    def _write_log(self, folder: Path, text: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        # A folder that was removed or replaced meanwhile costs the log, not the result.
        try:
            descriptor = os.open(folder / LOG, flags, 0o666)
        except (FileNotFoundError, NotADirectoryError, FileExistsError):
            return
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self._redact(text))
