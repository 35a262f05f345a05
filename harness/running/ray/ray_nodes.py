"""A Ray cluster as the machine of a run: the process that speaks to it, its devices, and the executor on it.

Ray chooses a node, the node runs the trial, and this machine writes its result.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from harness.errors import InvalidInputError, UnavailableError
from harness.machine.doctor_facts import Cluster
from harness.machine.facts import installed_torch
from harness.machine.redaction import redact, secrets_in
from harness.machine.requirements import require_extra
from harness.model.job import Job
from harness.programs import child_environment
from harness.running.executor import WorkerSetup
from harness.running.preflight import Machine
from harness.running.remote.protocol import Connected, Heard, Node, parsed
from harness.running.remote.remote_executor import Connection, RemoteExecutor
from harness.running.workers.channel import Channel
from harness.store.trial_folder import LARGEST_RESULT_BYTES


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


CONNECT_SECONDS: Final = 20.0
# The driver writes at least one line every second or two, unless a call of Ray's keeps it.
SILENT_SECONDS: Final = 120.0
_CLOSE_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.2
_ADDRESS: Final = re.compile(r"auto|[^\s:/]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")

_GIVE_TOKEN: Final = (
    "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN (or the file ~/.ray/auth_token) to the cluster's token."
)
# A line that Ray prints once before it retries for minutes -> its meaning and the next step.
_HOPELESS: Final[dict[str, tuple[str, str]]] = {
    "InvalidAuthToken": ("it does not accept the token", _GIVE_TOKEN),
    "Failed to connect to GCS at address": (
        "nothing answers there",
        "Look whether its head runs and can be reached from here; --ray-address HOST:PORT names another.",
    ),
}
_START_ONE: Final = (
    "Start one with `ray start --head`, join it from other machines with `ray start --address HEAD:6379`, "
    "and name it with --ray-address HEAD:6379; or leave out --executor ray to run on this machine alone."
)


class RayConnection:
    """A process that speaks to a Ray cluster, connected.

    Args:
        address: `auto` for the cluster that this machine is a node of, or the `host:port` of its head.
        limit_s: how long connecting may take.
        silent_s: how long the process may write nothing before the connection counts as lost.
        environ: of the process; None takes this one's.

    Raises:
        InvalidInputError: the address is none that a driver can use.
        UnavailableError: there is no cluster, it refuses the token, or ray cannot be imported.
    """

    def __init__(
        self,
        address: str,
        *,
        limit_s: float = CONNECT_SECONDS,
        silent_s: float = SILENT_SECONDS,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.address = checked_address(address)
        self._environ = dict(os.environ if environ is None else environ)
        self._silent_s = silent_s
        # Ray has its workers import from the driver's current directory: this one is empty but for the log.
        self._folder = TemporaryDirectory(prefix="harness-ray-")
        self.nodes: Sequence[Node] = ()
        self._channel = Channel(
            "harness.running.ray.driver",
            self.address,
            log=Path(self._folder.name) / "log",
            environ=child_environment(self._environ) | {"RAY_USAGE_STATS_ENABLED": "0"},
            # A line may carry a trial's whole result, and its log.
            longest=2 * LARGEST_RESULT_BYTES,
        )
        self.send = self._channel.send
        self.last_words = self._channel.last_words
        self._heard_at = time.monotonic()
        try:
            self.nodes = self._connected(limit_s)
        except BaseException:
            self.close()
            raise

    def heard(self, timeout_s: float) -> Sequence[Heard] | None:
        """Return the news of attempts, waiting for at most `timeout_s`; None when the connection has ended.

        It has ended, too, when the process has written nothing for so long that it must be stopped or stuck.
        """
        lines = self._channel.lines(timeout_s)
        now = time.monotonic()
        if lines:
            self._heard_at = now
        elif lines is not None and now - self._heard_at > self._silent_s:
            self._channel.give_up(f"the process that speaks to Ray did not respond for {self._silent_s:g} s")
            return None
        return None if lines is None else [heard for line in lines if (heard := parsed(line))]

    def close(self) -> None:
        """End the process, and with it all that it has started on the cluster."""
        # Before it is connected it reads nothing, and Ray ignores every other way to end it.
        self._channel.stop(within_s=_CLOSE_SECONDS if self.nodes else 0.0)
        self._folder.cleanup()

    def _connected(self, limit_s: float) -> Sequence[Node]:
        """Wait for the first line, or for a reason not to."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            lines = self._channel.lines(_LOOK_SECONDS)
            printed = self._channel.printed()
            for words, (why, hint) in _HOPELESS.items():
                if words in printed and not lines:
                    raise self._unavailable(why, hint)
            if lines is None:
                raise self._unavailable(self.last_words(), _START_ONE)
            if lines:
                connected = Connected.model_validate_json(lines[0])
                if connected.problem is not None:
                    hint = _GIVE_TOKEN if "authentication" in connected.problem.lower() else _START_ONE
                    raise self._unavailable(connected.problem, hint)
                return connected.nodes
        raise self._unavailable(f"it did not answer within {limit_s:g} s", _START_ONE)

    def _unavailable(self, why: str, hint: str) -> UnavailableError:
        where = "of this machine" if self.address == "auto" else f"at {self.address}"
        message = f"cannot use the Ray cluster {where}: {why}"
        return UnavailableError(redact(message, secrets_in(self._environ)), hint=hint)


def checked_address(address: str) -> str:
    """The address, if a process that starts tasks can use it.

    Raises:
        InvalidInputError: it is not of the form `auto` or `host:port`.
    """
    if _ADDRESS.fullmatch(address):
        return address
    raise InvalidInputError(
        f"Ray address {address[:100]!r}: neither `auto` nor the host:port of a cluster's head",
        hint=(
            "Start the run on a node of the cluster, by hand or with `ray job submit -- harness run ...`; "
            "addresses that begin with ray:// or http:// are for other clients."
        ),
    )
