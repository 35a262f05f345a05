"""A Ray cluster as the machine of a run: which devices it has, who runs trials there, how many at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.errors import UnavailableError
from harness.machine.facts import installed_torch
from harness.running.executor import WorkerSetup
from harness.running.preflight import Machine
from harness.running.ray.connection import RayConnection
from harness.running.ray.executor import Connection, RayExecutor, fits


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A cluster that this process is connected to, at the address it was asked for by."""

    connection: Connection
    address: str

    def machine(self) -> Machine:
        """Its devices: each trial on a GPU sees one, as `cuda:0`, whichever that is."""
        has_gpu = any(node.gpus >= 1 for node in self.connection.nodes)
        name = f"the Ray cluster {self.address}, where a trial sees one GPU, as cuda:0,"
        devices = ("cuda:0", "cpu") if has_gpu else ("cpu",)
        known = dict.fromkeys(node.processor for node in self.connection.nodes if node.processor is not None)
        return Machine(devices, installed_torch(), name=name, processors=tuple(known))

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
        """How many nodes have as many CPUs, or how many GPUs have as many CPUs beside them; at least one."""
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
