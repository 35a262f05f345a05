"""A Ray cluster as the machine of a run: its devices, how many trials fit, and the executor on it.

Ray chooses a node, the node runs the trial, and this machine writes its result.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.errors import UnavailableError
from harness.machine.doctor_facts import Cluster
from harness.machine.facts import installed_torch
from harness.machine.requirements import require_extra
from harness.model.job import Job
from harness.running.executor import WorkerSetup
from harness.running.preflight import Machine
from harness.running.ray.connection import RayConnection, checked_address
from harness.running.remote.executor import Connection, RemoteExecutor
from harness.running.remote.messages import Node


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A cluster that this process is connected to, at the address it was asked for by."""

    connection: RayNodes
    address: str

    def machine(self) -> Machine:
        """Its devices: a trial sees the GPUs that it is given, from `cuda:0` on, whichever they are."""
        most = max((int(node.gpus) for node in self.connection.nodes), default=0)
        name = f"the Ray cluster {self.address}, where a trial sees its own GPU, as cuda:0,"
        devices = ("cuda:0", "cpu") if most else ("cpu",)
        known = dict.fromkeys(node.processor for node in self.connection.nodes if node.processor is not None)
        nodes = tuple(str(node) for node in self.connection.nodes if node.problem is None and node.cpus)
        return Machine(
            devices,
            installed_torch(),
            name=name,
            processors=tuple(known),
            together=max(1, most),
            nodes=nodes,
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """Why nodes can run no trial."""
        nodes = self.connection.nodes
        return tuple(f"{node.name} can run no trial: {node.problem}" for node in nodes if node.problem)

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
        wrong = "".join(f"; {problem}" for problem in self.problems)
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


def look_at_cluster(address: str | None) -> Cluster | None:
    """Describe the cluster at that address, at RAY_ADDRESS, or of this machine; None if there is none.

    Raises:
        InvalidInputError: the address is none that can be used from here.
    """
    named = address or os.environ.get("RAY_ADDRESS")
    if named is None and not _runs_here():
        return None
    address = checked_address(named or "auto")
    try:
        require_extra("ray")
        connection = RayConnection(address)
    except UnavailableError as error:
        return Cluster(address, named is not None, error=error.message, advice=error.hint or "")
    connection.close()
    cluster = RayCluster(connection, address)
    return Cluster(address, named is not None, cluster.machine().nodes, cluster.problems)


def _runs_here() -> bool:
    """Whether `ray start` has left the address of a cluster where Ray looks for it."""
    temporary = os.environ.get("TMPDIR") if sys.platform == "linux" else None
    places = (os.environ.get("RAY_TMPDIR"), temporary, "/tmp")  # noqa: S108 - never written
    return Path(next(filter(None, places)), "ray", "ray_current_cluster").is_file()


class RayNodes(Connection, Protocol):
    """A connection that knows the nodes of its cluster."""

    nodes: Sequence[Node]


def fits(node: Node, device: str, threads: int, devices: int = 1) -> bool:
    """Whether the node can ever run a trial of so many threads on so many such devices."""
    return node.problem is None and node.cpus >= threads and (device == "cpu" or node.gpus >= devices)


class RayExecutor(RemoteExecutor):
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
        connection: RayNodes,
        *,
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(setup, connection, grace_s=grace_s, clock=clock)
        self._nodes = connection.nodes
        if not any(fits(node, "cpu", setup.threads) for node in self._nodes):
            most = max((node.cpus for node in self._nodes), default=0.0)
            raise UnavailableError(
                f"a trial takes {setup.threads} CPUs, a thread each, and no node of the Ray cluster has more "
                f"than {most:g}",
                hint="Set measure.threads in the suite, or -s measure.threads=N, to what a node has.",
            )

    def _refusal(self, job: Job) -> str | None:
        threads, devices = self._setup.threads, job.trial.devices
        if any(fits(node, devices[0], threads, len(devices)) for node in self._nodes):
            return None
        # Ray would wait for such a node without end.
        gpus = "a GPU" if len(devices) == 1 else f"{len(devices)} GPUs"
        return f"no node of the cluster has {gpus} and {threads} CPUs, one for each thread of a trial"
