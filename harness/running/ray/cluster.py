"""A Ray cluster as the machine of a run: its devices, how many trials fit, and the executor on it.

Ray chooses a node, the node runs the trial, and this machine writes its result.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.errors import UnavailableError
from harness.machine.facts import installed_torch
from harness.model.job import Job
from harness.model.results import TrialResult
from harness.running.executor import AttemptExecutor, Progressed, WorkerSetup
from harness.running.preflight import Machine
from harness.running.ray.connection import RayConnection
from harness.running.ray.messages import Heard, Node, Request
from harness.running.workers.judging import Attempt, Ended, exit_cause, own_result
from harness.store.trial_folder import LOG, result_left


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A cluster that this process is connected to, at the address it was asked for by."""

    connection: Connection
    address: str

    def machine(self) -> Machine:
        """Its devices: a trial sees the GPUs that it is given, from `cuda:0` on, whichever they are."""
        most = max((int(node.gpus) for node in self.connection.nodes), default=0)
        name = f"the Ray cluster {self.address}, where a trial sees its own GPU, as cuda:0,"
        devices = ("cuda:0", "cpu") if most else ("cpu",)
        known = dict.fromkeys(node.processor for node in self.connection.nodes if node.processor is not None)
        return Machine(devices, installed_torch(), name=name, processors=tuple(known), together=max(1, most))

    def require_nodes(self) -> None:
        """Make sure that at least one node can run trials at all.

        Raises:
            UnavailableError: saying of each node why it cannot.
        """
        nodes = self.connection.nodes
        if any(node.cpus > 0 and node.problem is None for node in nodes):
            return
        reasons = "; ".join(f"{node.name}: {node.problem or 'it offers no CPU'}" for node in nodes)
        raise UnavailableError(
            f"no node of the Ray cluster {self.address} can run a trial: {reasons}",
            hint="Install the same harness, with its extras `train` and `ray`, on every node.",
        )

    def describe(self) -> str:
        """Where trials run, in a sentence."""
        nodes = self.connection.nodes
        cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
        wrong = "".join(f"; {node.name} can run no trial: {node.problem}" for node in nodes if node.problem)
        offer = f"{len(nodes)} nodes, {cpus:g} CPUs, {gpus:g} GPUs"
        return f"running on the Ray cluster {self.address}: {offer}{wrong}"

    def executor(self, setup: WorkerSetup, grace_s: float) -> RayExecutor:
        """An executor on it."""
        return RayExecutor(setup, self.connection, grace_s=grace_s)

    def count(self, device: str, threads: int) -> int:
        """Return how many nodes, or GPUs on such nodes, have as many CPUs; at least one.

        A trial on several GPUs is one task on one node, which Ray starts when that node has them free.
        """
        fitting = [node for node in self.connection.nodes if fits(node, device, threads)]
        if device == "cpu":
            return max(1, len(fitting))
        return max(1, sum(min(int(node.gpus), int(node.cpus // threads)) for node in fitting))


@contextmanager
def ray_cluster(address: str | None) -> Iterator[RayCluster]:
    """The cluster at that address, at RAY_ADDRESS, or of this machine; left again at the end.

    Raises:
        InvalidInputError: the address is none that can be used from here.
        UnavailableError: there is no cluster, or it refuses the token.
    """
    connection = RayConnection(address or os.environ.get("RAY_ADDRESS") or "auto")
    try:
        cluster = RayCluster(connection, connection.address)
        cluster.require_nodes()
        yield cluster
    finally:
        connection.close()


class Connection(Protocol):
    """The interface that the executor needs of a connection to a cluster."""

    nodes: Sequence[Node]

    def send(self, order: Mapping[str, Any]) -> None:
        """Give an order."""

    def heard(self, timeout_s: float) -> Sequence[Heard] | None:
        """The news of attempts; None when the connection has ended."""

    def last_words(self) -> str:
        """The last line that Ray printed, after the connection has ended."""

    def close(self) -> None:
        """End it, and all that it has started."""


def fits(node: Node, device: str, threads: int, devices: int = 1) -> bool:
    """Whether the node can ever run a trial of so many threads on so many such devices."""
    return node.problem is None and node.cpus >= threads and (device == "cpu" or node.gpus >= devices)


@dataclass(slots=True, eq=False)
class Numbered(Attempt):
    """An attempt on the cluster; a late report of an earlier attempt has another number."""

    number: int = 0


class RayExecutor(AttemptExecutor[Numbered]):
    """An executor on a Ray cluster.

    Args:
        setup: what runs a trial, with how many threads, and what to keep out of every file.
        connection: to the cluster; closed when the executor is stopped.
        grace_s: how long a worker that is told to stop may take before it is killed.
        clock: monotonic seconds.

    Raises:
        UnavailableError: no node has as many CPUs as a trial has threads.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        connection: Connection,
        *,
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(setup, clock)
        self._connection = connection
        self._grace_s = grace_s
        self._number = 0
        self._lost: str | None = None
        if not any(fits(node, "cpu", setup.threads) for node in connection.nodes):
            most = max((node.cpus for node in connection.nodes), default=0.0)
            raise UnavailableError(
                f"a trial takes {setup.threads} CPUs, a thread each, and no node of the Ray cluster has more "
                f"than {most:g}",
                hint="Set measure.threads in the suite, or -s measure.threads=N, to what a node has.",
            )

    def _attempt(self, job: Job, folder: Path) -> Numbered:
        self._number += 1
        return Numbered(job, folder, self._clock(), number=self._number)

    def _start(self, attempt: Numbered) -> None:
        job, threads = attempt.job, self._setup.threads
        if self._lost is not None:
            self._end(attempt, "killed", self._lost)
            return
        devices = job.trial.devices
        if not any(fits(node, devices[0], threads, len(devices)) for node in self._connection.nodes):
            # Ray would wait for such a node without end.
            gpus = "a GPU" if len(devices) == 1 else f"{len(devices)} GPUs"
            what = f"{gpus} and {threads} CPUs, one for each thread of a trial"
            self._end(attempt, "failed", f"no node of the cluster has {what}", started=False)
            return
        sent = job.model_copy(update={"measure": job.measure.model_copy(update={"threads": threads})})
        request = Request(
            number=attempt.number,
            job=sent,
            runner=self._setup.runner,
            threads=threads,
            grace_s=self._grace_s,
        )
        self._connection.send(
            {
                "submit": attempt.number,
                "cpus": threads,
                # All on the node of the task: one bundle, as a placement group of one would be.
                "gpus": len(devices) if job.trial.device.startswith("cuda") else 0,
                "name": f"harness trial {job.trial.id}",
                "request": request.model_dump_json(),
            }
        )

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
            self._end(attempt, "killed", f"{heard.lost}{where}")
        else:
            self._take_result(attempt, heard.result, heard, where)

    def _take_result(self, attempt: Numbered, result: TrialResult, heard: Heard, where: str) -> None:
        """Write a result of this trial that a node sent, unless one is there: whoever wrote it was first."""
        self._write_log(attempt.folder, heard.log)
        if result.trial != attempt.job.trial:
            self._end(
                attempt, "killed", f"the node gave the result of another trial, {result.trial.id}{where}"
            )
        elif own_result(attempt, result_left(attempt.folder)) is not None:
            self._end(attempt, "killed", "")
        else:
            self._running.remove(attempt)
            self._store(attempt, Ended(result, heard.may_retry))

    def _lose(self) -> None:
        self._lost = f"the connection to the Ray cluster ended: {self._redact(self._connection.last_words())}"
        self._connection.close()
        for attempt in list(self._running):
            self._end(attempt, "killed", self._lost)

    def _write_log(self, folder: Path, text: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        # A folder that was removed or replaced meanwhile costs the log, not the result.
        try:
            descriptor = os.open(folder / LOG, flags, 0o666)
        except (FileNotFoundError, NotADirectoryError, FileExistsError):
            return
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self._redact(text))
