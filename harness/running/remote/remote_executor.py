"""The executor over a connection to other machines: it gives requests, and acts on what it hears of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.model.job import Job
from harness.model.results import TrialResult
from harness.running.executor import AttemptExecutor, Progressed, WorkerSetup
from harness.running.remote.protocol import Heard, Request
from harness.running.workers.judging import Attempt, Ended, exit_cause, own_result
from harness.store.trial_folder import LOG, result_left


class Connection(Protocol):
    """The interface that the executor needs of a connection to a cluster."""

    def send(self, order: Mapping[str, Any]) -> None:
        """Give an order."""

    def heard(self, timeout_s: float) -> Sequence[Heard] | None:
        """The news of attempts; None when the connection has ended."""

    def last_words(self) -> str:
        """The last line that the cluster's own program printed, after the connection has ended."""

    def close(self) -> None:
        """End it, and all that it has started."""


@dataclass(slots=True, eq=False)
class Numbered(Attempt):
    """An attempt on the cluster; a late report of an earlier attempt has another number."""

    number: int = 0


class RemoteExecutor(AttemptExecutor[Numbered]):
    """An executor on other machines.

    Args:
        setup: what runs a trial, with how many threads, and what to keep out of every file.
        connection: to the cluster; closed when the executor is stopped.
        grace_s: how long a worker that is told to stop may take before it is killed.
        shared: whether nodes work in the trials' folders, which are then on a file system that all share.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        connection: Connection,
        *,
        grace_s: float,
        shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(setup, clock)
        self._connection = connection
        self._grace_s = grace_s
        self._shared = shared
        self._number = 0
        self._lost: str | None = None

    def _attempt(self, job: Job, folder: Path) -> Numbered:
        self._number += 1
        return Numbered(job, folder, self._clock(), number=self._number)

    def _start(self, attempt: Numbered) -> None:
        job, threads = attempt.job, self._setup.threads
        if self._lost is not None:
            self._end(attempt, "killed", self._lost)
            return
        if (refusal := self._refusal(job)) is not None:
            self._end(attempt, "failed", refusal, started=False)
            return
        sent = job.model_copy(update={"measure": job.measure.model_copy(update={"threads": threads})})
        request = Request(
            number=attempt.number,
            job=sent,
            runner=self._setup.runner,
            threads=threads,
            grace_s=self._grace_s,
            folder=str(attempt.folder) if self._shared else None,
        )
        self._connection.send(
            {
                "submit": attempt.number,
                "cpus": threads,
                "gpus": len(job.trial.devices) if job.trial.device.startswith("cuda") else 0,
                "ranks": job.trial.world_size,
                "alone": job.concurrent == 1,
                "name": f"harness trial {job.trial.id}",
                "request": request.model_dump_json(),
            }
        )

    def _refusal(self, job: Job) -> str | None:  # noqa: ARG002 - for clusters that know their nodes
        """Return why no node can ever run the job, or None."""
        return None

    def _hear(self, timeout_s: float) -> Sequence[Progressed]:
        if self._lost is not None:
            return ()
        heard = self._connection.heard(timeout_s)
        if heard is None:
            self._lose()
        return [progressed for one in heard or () for progressed in self._take(one)]

    def _cancel(self, attempt: Numbered) -> None:
        self._connection.send({"cancel": attempt.number})

    def _close(self) -> None:
        self._connection.close()
        self._lost = "the run was stopped"

    def _take(self, heard: Heard) -> Iterator[Progressed]:
        """Act on the news of an attempt, unless that attempt has ended."""
        attempt = next((one for one in self._running if one.number == heard.number), None)
        if attempt is None:
            return
        where = "" if heard.node is None else f" on {heard.node}"
        if heard.progress is not None:
            attempt.phase = heard.progress.phase
            yield Progressed(attempt.job.trial, heard.progress)
        elif heard.memory_ran_out:
            self._end(attempt, *exit_cause(signal.SIGKILL, memory_ran_out=True))
        elif heard.refused is not None:
            self._end(attempt, "failed", heard.refused, started=False)
        elif heard.result is None:
            self._write_log(attempt.folder, heard.log)
            self._end(attempt, "killed", f"{heard.lost}{where}")
        else:
            self._take_result(attempt, heard.result, heard, where)

    def _take_result(self, attempt: Numbered, result: TrialResult, heard: Heard, where: str) -> None:
        """Write a result of this trial that a node sent, unless one is there: whoever wrote it was first.

        In a shared folder that one is the same.
        """
        self._write_log(attempt.folder, heard.log)
        if result.trial != attempt.job.trial:
            self._end(
                attempt, "killed", f"the node gave the result of another trial, {result.trial.id}{where}"
            )
        elif not self._shared and own_result(attempt, result_left(attempt.folder)) is not None:
            self._end(attempt, "killed", "")
        else:
            self._running.remove(attempt)
            self._store(attempt, Ended(result, heard.may_retry))

    def _lose(self) -> None:
        self._lost = f"the connection to the cluster ended: {self._redact(self._connection.last_words())}"
        self._connection.close()
        for attempt in list(self._running):
            self._end(attempt, "killed", self._lost)

    def _write_log(self, folder: Path, text: str) -> None:
        """Write the log that a node sent, unless the worker wrote one here."""
        if self._shared and not text:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        # A folder that was removed or replaced meanwhile costs the log, not the result.
        try:
            descriptor = os.open(folder / LOG, flags, 0o666)
        except (FileNotFoundError, NotADirectoryError, FileExistsError):
            return
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self._redact(text))
