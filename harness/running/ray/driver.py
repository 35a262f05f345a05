"""The process that speaks to a Ray cluster for a run, and the only one that imports ray.

Ray ends its driver when the cluster is lost, waits for minutes for one that is not there, and prints where it
pleases: none of that may happen to a run. Started as `python -P -m harness.running.ray.driver ADDRESS
EVENTS PARENT`; EVENTS is the file descriptor it reports to: first a `Connected`, then one `Heard` a line, and
an empty line now and then as a sign of life. It takes orders as JSON lines:

    {"submit": 3, "cpus": 2, "gpus": 0, "ranks": 1, "name": "...", "request": "..."}    run it on some node
    {"cancel": 3}                                                                       end it, gently

When its standard input ends, it ends all that it started, and itself.
"""

from __future__ import annotations

import logging
import select
import sys
import time
from typing import Any, Final

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness import __version__
from harness.running.ray.slots import Slots, cause_of
from harness.running.remote.protocol import Connected, Node
from harness.running.remote.task import describe_node
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
        self._slots = Slots(pipe.report)

    def serve(self) -> None:
        """Serve until the orders end."""
        while self._take_orders():
            self._slots.listen(_WAIT_SECONDS)
            if (now := time.monotonic()) - self._pulse_at >= _PULSE_SECONDS:
                self._pulse_at = now
                self._pipe.report("")
        self._slots.close()

    def _take_orders(self) -> bool:
        wait_s = 0.0 if self._slots.busy else _PULSE_SECONDS
        readable, _, _ = select.select([self._pipe.requests], [], [], wait_s)
        if not readable:
            return True
        orders = self._pipe.take()
        for order in orders or ():
            if "cancel" in order:
                self._slots.cancel(order["cancel"])
            else:
                self._slots.submit(order)
        return orders is not None


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
            problem = cause_of(error)
        except (RayError, TimeoutError) as error:
            problem = f"it did not answer: {type(error).__name__}"
    offered = found["Resources"]
    models = [name.partition(":")[2] for name in offered if name.startswith("accelerator_type:")]
    return Node(
        name=found["NodeName"],
        cpus=offered.get("CPU", 0.0),
        gpus=offered.get("GPU", 0.0),
        processor=processor,
        accelerator=", ".join(models) or None,
        problem=problem,
    )


def main(arguments: list[str]) -> None:
    """Connect to the cluster named on the command line, and serve."""
    address, pipe, parent = arguments[0], ParentPipe(int(arguments[1])), int(arguments[2])
    die_with_parent(parent)
    connected = connect(address)
    pipe.report(connected.model_dump_json())
    if connected.problem is None:
        Driver(pipe).serve()
        ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
