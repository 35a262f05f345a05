"""A Ray cluster of several nodes on this machine, in a separate process that obeys lines on standard input.

It prints the address, then `done` after each line: `add NAME CPUS GPUS` adds a node, `kill NAME` kills one
with all its processes. It ends with its input.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.running.fakes import environ


class Cluster:
    """A cluster with a token: a head without CPUs, and a node with one. Its trials share two files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = secrets.token_hex(32)
        self.record, self.release = folder / "record", folder / "release"
        (folder / "ray").mkdir()
        (folder / "cache").mkdir()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.running.ray_nodes"],
            cwd=folder,
            env=self.environ(FAKE_RECORD=str(self.record), FAKE_RELEASE=str(self.release)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "errors").open("w"),
            start_new_session=True,
            text=True,
        )
        self.address = self._answer()

    def environ(self, **changes: str) -> dict[str, str]:
        fixed = {
            "RAY_TMPDIR": str(self.folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "HARNESS_CACHE_DIR": str(self.folder / "cache"),
            "TMPDIR": str(self.folder),
        }
        return environ(**(fixed | changes))

    def order(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        assert self._answer() == "done"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        assert answer, (self.folder / "errors").read_text()
        return answer

    def processes(self, *of: str) -> list[str]:
        """The processes that work in this cluster's folders, all or those with one of these words."""
        found = []
        for process in psutil.process_iter():
            try:
                line = f"{process.pid} {' '.join(process.cmdline())}"
                here = Path(process.cwd()).is_relative_to(self.folder) or str(self.folder) in line
            except (psutil.Error, OSError):
                continue
            if here and process.pid != os.getpid() and (not of or any(word in line for word in of)):
                found.append(line)
        return found

    def trials(self) -> list[str]:
        """The processes of trials, and those that speak to Ray for a run."""
        return self.processes("fork_server", "ray::harness", "ray::Slot", "harness.running.ray.driver")

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        finally:
            for line in self.processes():
                os.kill(int(line.split()[0]), signal.SIGKILL)
            self._process.wait()


def main() -> None:
    from ray.cluster_utils import Cluster as Nodes  # noqa: PLC0415 - for this process alone

    nodes: dict[str, Any] = {}
    # A node that is killed is noticed within a second or two, instead of half a minute.
    health = {
        "health_check_period_ms": 500,
        "health_check_timeout_ms": 1000,
        "health_check_failure_threshold": 2,
    }
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": health}
    cluster = Nodes(initialize_head=True, head_node_args=head)
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
