"""The process that speaks to a Ray cluster for a run, and the only one that imports ray.

Ray ends its driver when the cluster is lost, waits for minutes for one that is not there, and prints where it
pleases: none of that may happen to a run. Started as `python -P -m harness.running.ray.driver ADDRESS
EVENTS PARENT`; EVENTS is the file descriptor it reports to: first a `Connected`, then one `Heard` a line, and
an empty line now and then as a sign of life. It takes orders as JSON lines:

    {"submit": 3, "cpus": 2, "gpus": 0, "name": "...", "request": "..."}     run the request on some node
    {"cancel": 3}                                                           end it, gently

When its standard input ends, it ends all that it started, and itself.
"""

from __future__ import annotations

import logging
import select
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness import __version__
from harness.running.remote.messages import Connected, Heard, Node
from harness.running.remote.task import describe_node, run_on_node
from harness.running.workers.channel import ParentPipe
from harness.running.workers.descendants import die_with_parent

_WAIT_SECONDS: Final = 0.1
_ASK_SECONDS: Final = 10.0
_PULSE_SECONDS: Final = 1.0


class Driver:
    """Gives requests to Ray and passes on what it hears of them."""

    def __init__(self, pipe: ParentPipe) -> None:
        self._pipe = pipe
        self._pulse_at = 0.0
        self._streams: dict[int, Any] = {}
        # A worker of Ray's runs one trial and ends: nothing of it can reach the next.
        self._task: Any = ray.remote(max_calls=1, max_retries=0, num_returns="streaming")(run_on_node)

    def serve(self) -> None:
        """Serve until the orders end."""
        while self._take_orders():
            if self._streams:
                self._listen()
            if (now := time.monotonic()) - self._pulse_at >= _PULSE_SECONDS:
                self._pulse_at = now
                self._pipe.report("")
        for stream in self._streams.values():
            ray.cancel(stream, force=True)

    def report(self, message: Connected | Heard) -> None:
        """Write one line."""
        self._pipe.report(message.model_dump_json())

    def _take_orders(self) -> bool:
        wait_s = 0.0 if self._streams else _PULSE_SECONDS
        readable, _, _ = select.select([self._pipe.requests], [], [], wait_s)
        if not readable:
            return True
        orders = self._pipe.take()
        for order in orders or ():
            self._handle(order)
        return orders is not None

    def _handle(self, order: dict[str, Any]) -> None:
        if "cancel" in order:
            if (stream := self._streams.get(order["cancel"])) is not None:
                ray.cancel(stream)
            return
        number = order["submit"]
        # Two trials on one node slow each other down, so they go to as many nodes as there are.
        task = self._task.options(
            num_cpus=order["cpus"], num_gpus=order["gpus"], name=order["name"], scheduling_strategy="SPREAD"
        )
        self._streams[number] = task.remote(__version__, number, order["request"])

    def _listen(self) -> None:
        ready, _ = ray.wait(list(self._streams.values()), timeout=_WAIT_SECONDS)
        for number, stream in list(self._streams.items()):
            if any(stream is one for one in ready):
                self._pass_on(number, stream)

    def _pass_on(self, number: int, stream: Iterator[Any]) -> None:
        try:
            self._pipe.report(ray.get(next(stream)))
        except StopIteration:
            del self._streams[number]
            self.report(Heard(number=number, lost="its task ended without a result"))
        except RayError as error:
            del self._streams[number]
            self.report(what_was_lost(number, error))


def what_was_lost(number: int, error: RayError) -> Heard:
    """Return the end of the attempt that an error of Ray means."""
    if isinstance(error, OutOfMemoryError):
        return Heard(number=number, memory_ran_out=True)
    if isinstance(error, RayTaskError):
        return Heard(number=number, refused=f"the node could not run its task: {_cause_of(error)}")
    sentence = " ".join(str(error).split()) or type(error).__name__
    return Heard(number=number, lost=f"{type(error).__name__}: {sentence[:300]}")


def connect(address: str) -> Connected:
    """Connect to the cluster at that address; what it offers, or why not."""
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
        return Connected(nodes=_nodes())
    except (RayError, OSError, ValueError, RuntimeError) as error:
        return Connected(problem=f"{type(error).__name__}: {error}")


def _nodes() -> tuple[Node, ...]:
    """Return the live nodes, each described by a task on it."""
    found = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # ray's own lack
    ask: Any = ray.remote(max_calls=1, max_retries=0, num_cpus=0)(describe_node)
    asked = {
        node["NodeID"]: ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], False)
        ).remote(__version__)
        for node in found
        if node["Resources"].get("CPU", 0.0) > 0
    }
    if asked:
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=_ASK_SECONDS)
    return tuple(_node(node, asked.get(node["NodeID"])) for node in found)


def _node(found: dict[str, Any], answer: Any) -> Node:
    processor: str | None = None
    problem: str | None = None
    if answer is not None:
        try:
            processor, problem = ray.get(answer, timeout=0)
        except RayTaskError as error:
            problem = _cause_of(error)
        except (RayError, TimeoutError) as error:
            problem = f"it did not answer: {type(error).__name__}"
    offered = found["Resources"]
    return Node(
        name=found["NodeName"],
        cpus=offered.get("CPU", 0.0),
        gpus=offered.get("GPU", 0.0),
        processor=processor,
        problem=problem,
    )


def _cause_of(error: RayTaskError) -> str:
    # Its own text is a whole traceback, as of another exception in another process.
    cause: object = error.cause
    return f"{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]}"


def main(arguments: list[str]) -> None:
    """Connect to the cluster named on the command line, and serve."""
    address, pipe, parent = arguments[0], ParentPipe(int(arguments[1])), int(arguments[2])
    die_with_parent(parent)
    driver = Driver(pipe)
    connected = connect(address)
    driver.report(connected)
    if connected.problem is None:
        driver.serve()
        ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
