"""A Ray cluster of several nodes on this machine, in a process of its own that obeys lines on standard input.

It prints the address, then `done` after each line: `add NAME CPUS GPUS` adds a node, `kill NAME` kills one
with all its processes. It ends with its input.
"""

from __future__ import annotations

import sys
from typing import Any

from ray.cluster_utils import Cluster


def main() -> None:
    nodes: dict[str, Any] = {}
    # A node that is killed is noticed within a second or two, instead of half a minute.
    health = {
        "health_check_period_ms": 500,
        "health_check_timeout_ms": 1000,
        "health_check_failure_threshold": 2,
    }
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": health}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    say(cluster.address)
    for line in sys.stdin:
        what, name, *rest = line.split()
        if what == "add":
            nodes[name] = cluster.add_node(num_cpus=int(rest[0]), num_gpus=int(rest[1]))
        else:
            cluster.remove_node(nodes.pop(name), allow_graceful=False)
        say("done")
    cluster.shutdown()  # type: ignore[no-untyped-call] # ray's own lack


def say(text: str) -> None:
    """What the test waits for."""
    print(text, flush=True)  # noqa: T201 -- the whole purpose


if __name__ == "__main__":
    main()
