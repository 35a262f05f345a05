"""Twelve tiny trials on a Ray cluster of one node against the same trials in processes of this machine.

Promised: at most 1.3 times the time of `--executor local`, counted from the moment when the run is connected
to the cluster. `whole` are the times of the commands, with the connection.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.test_overhead import SUITE, THREADS
from tests.running.ray_nodes import Cluster

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (extra `ray`)"),
    pytest.mark.skipif(sys.platform != "linux", reason="a cluster in a process of this machine needs Linux"),
]
ROUNDS: Final = 3
# What a run announces once it is connected.
CONNECTED: Final = "note: checkpoint "


class Took(NamedTuple):
    """Seconds of a command, and those of them after it was connected."""

    whole: float
    connected: float


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    # The names of sockets below it may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="hr-", dir="/tmp"))
    made = Cluster(folder)
    try:
        made.order(f"add one {THREADS} 0")
        yield made
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)


def run(executor: str, cluster: Cluster, folder: Path) -> Took:
    """Run all trials in a new run."""
    options = ("--executor", executor, *(("--ray-address", cluster.address) if executor == "ray" else ()))
    command = ("-m", "harness", "run", "loop.yaml", "--assets", "embedded", "--fresh", *options)
    began = time.perf_counter()
    connected = None
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=cluster.environ(HF_HUB_OFFLINE="1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if connected is None and CONNECTED in line:
            connected = time.perf_counter()
    assert process.wait() == 0, "".join(lines)
    assert connected is not None, "".join(lines)
    ended = time.perf_counter()
    return Took(ended - began, ended - connected)


@pytest.mark.timeout(1800)
def test_twelve_tiny_trials_on_a_cluster(
    benchmark: BenchmarkFixture, cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "loop.yaml").write_text(SUITE.replace("ENGINE", "loop"))
    took: dict[str, list[Took]] = {"local": [], "ray": []}

    def measure() -> None:
        for executor, times in took.items():
            times.append(run(executor, cluster, tmp_path))

    measure()
    took = {"local": [], "ray": []}
    benchmark.pedantic(measure, rounds=ROUNDS)  # type: ignore[no-untyped-call]  # the library's own
    whole = {name: median(each.whole for each in times) for name, times in took.items()}
    connected = {name: median(each.connected for each in times) for name, times in took.items()}
    benchmark.extra_info.update(
        trials=12,
        seconds={name: [round(each.connected, 3) for each in times] for name, times in took.items()},
        whole_seconds={name: [round(each.whole, 3) for each in times] for name, times in took.items()},
        ratio=round(connected["ray"] / connected["local"], 3),
        whole_ratio=round(whole["ray"] / whole["local"], 3),
    )
