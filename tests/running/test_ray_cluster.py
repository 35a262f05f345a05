"""Trials on a real Ray cluster of several nodes on this machine: no head, no token, lost nodes."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from harness.model.results import Report
from harness.store.reading import load_report
from tests.running.fakes import start, write_suite
from tests.running.ray_nodes import Cluster

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (extra `ray`)"),
    pytest.mark.skipif(sys.platform != "linux", reason="several nodes on one machine need Linux"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # The names of sockets below it may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="hr-", dir="/tmp"))
    made = Cluster(folder)
    try:
        made.order("add one 1 0")
        yield made
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _nothing_is_left(cluster: Cluster) -> Iterator[None]:
    for file in (cluster.record, cluster.release):
        file.unlink(missing_ok=True)
    yield
    wait_for(lambda: not cluster.trials(), 20.0)


def wait_for(condition: Callable[[], object], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def begin(
    cluster: Cluster,
    folder: Path,
    runner: str,
    *arguments: str,
    seeds: tuple[int, ...] = (0,),
    **changes: str,
) -> subprocess.Popen[str]:
    """Start a run of trials with one thread on the cluster, in a folder that is not the cluster's."""
    address = changes.pop("address", cluster.address)
    ray = ("--executor", "ray", "--ray-address", address, *arguments)
    suite = write_suite(folder, seeds, "measure: {threads: 1, stall_timeout_seconds: 2}\n")
    changes = {"HARNESS_CACHE_DIR": str(cluster.folder / "cache")} | changes
    return start(suite, *ray, cwd=folder, runner=runner, **(cluster.environ(**changes)))


def report_of(folder: Path) -> Report:
    (path,) = folder.glob("reports/fake/*/report.json")
    return load_report(path)


def test_a_run_on_a_cluster_ends_as_one_on_a_machine_alone(cluster: Cluster, tmp_path: Path) -> None:
    process = begin(cluster, tmp_path, "hostile", seeds=(1, 102, 104, 106, 114))
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 1, errors
    assert f"running on the Ray cluster {cluster.address}: 2 nodes, 1 CPUs, 0 GPUs" in errors
    assert "2 completed" in output
    results = {result.trial.seed: result for result in report_of(tmp_path).results}
    assert {seed: result.status for seed, result in results.items()} == {
        1: "completed",
        102: "failed",
        104: "killed",
        106: "timeout",
        114: "completed",
    }
    assert "SIGKILL" in (results[104].reason or "")
    assert "stall_timeout_seconds = 2" in (results[106].reason or "")
    for result in results.values():
        (folder,) = tmp_path.glob(f"reports/fake/*/trials/{result.trial.id}")
        assert {"job.json", "log", "result.json"} <= {path.name for path in folder.iterdir()}
    wait_for(lambda: not list(cluster.folder.glob("harness-node-*")))
    assert cluster.token not in errors + "".join(path.read_text() for path in tmp_path.rglob("*.json"))


def test_a_cluster_of_two_nodes_runs_two_trials_at_once(cluster: Cluster, tmp_path: Path) -> None:
    cluster.order("add another 1 0")
    try:
        process = begin(
            cluster, tmp_path, "seen_and_held", "-s", "measure.stall_timeout_seconds=60", seeds=(0, 1, 2)
        )
        wait_for(lambda: cluster.record.exists() and len(cluster.record.read_text().split()) == 2)
        cluster.release.touch()
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    finally:
        cluster.order("kill another")


def test_each_trial_on_a_gpu_sees_the_one_that_it_was_given_and_no_token(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.order("add gpus 2 2")
    try:
        process = begin(cluster, tmp_path, "seen_and_held", "-s", "matrix.device=[auto]", seeds=(0, 1))
        wait_for(lambda: cluster.record.exists() and len(cluster.record.read_text().split()) == 2)
        seen = [_environment_of(int(line.split()[0])) for line in cluster.processes("fork_server")]
        cluster.release.touch()
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    finally:
        cluster.order("kill gpus")
    assert {each["CUDA_VISIBLE_DEVICES"] for each in seen} == {"0", "1"}
    assert all(cluster.token not in each.values() for each in seen)
    assert {result.trial.device for result in report_of(tmp_path).results} == {"cuda:0"}


def test_a_trial_of_two_ranks_has_its_gpus_on_one_node(cluster: Cluster, tmp_path: Path) -> None:
    cluster.order("add gpus 1 2")
    try:
        ranks = ("-s", "matrix.device=[auto]", "-s", "matrix.world_size=[2]", "-s", "matrix.engine=[loop]")
        process = begin(cluster, tmp_path, "seen_and_held", *ranks, "-s", "measure.stall_timeout_seconds=60")
        wait_for(lambda: cluster.record.exists() and len(cluster.record.read_text().split()) == 2)
        seen = {
            _environment_of(int(line.split()[0]))["CUDA_VISIBLE_DEVICES"]
            for line in cluster.processes("fork_server")
        }
        cluster.release.touch()
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    finally:
        cluster.order("kill gpus")
    assert seen == {"0,1"}


def _environment_of(pid: int) -> dict[str, str]:
    return psutil.Process(pid).environ()


def test_a_head_that_cannot_be_reached_ends_the_run_with_69_within_30_seconds(
    cluster: Cluster, tmp_path: Path
) -> None:
    began = time.monotonic()
    process = begin(cluster, tmp_path, "good", address="127.0.0.1:1")
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 69
    assert output == ""
    assert "cannot use the Ray cluster at 127.0.0.1:1: " in errors
    assert "--ray-address HOST:PORT" in errors
    assert "Traceback" not in errors
    assert time.monotonic() - began < 30
    assert not (tmp_path / "reports").exists()


def test_a_wrong_token_ends_the_run_with_69_within_30_seconds(cluster: Cluster, tmp_path: Path) -> None:
    began = time.monotonic()
    wrong = secrets.token_hex(32)
    process = begin(cluster, tmp_path, "good", "--json", RAY_AUTH_TOKEN=wrong)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 69
    assert f"cannot use the Ray cluster at {cluster.address}: it does not accept the token" in errors
    assert "RAY_AUTH_TOKEN" in errors
    assert json.loads(output)["exit_code"] == 69
    assert wrong not in output + errors
    assert time.monotonic() - began < 30
    assert not (tmp_path / "reports").exists()


def test_a_node_that_dies_is_a_killed_trial(cluster: Cluster, tmp_path: Path) -> None:
    process = _run_on_a_node_that_dies(cluster, tmp_path)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 1, errors
    (result,) = report_of(tmp_path).results
    assert (result.status, result.attempts) == ("killed", 1)
    assert "died" in (result.reason or "").lower()


def test_a_node_that_dies_is_another_attempt_only_if_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    process = _run_on_a_node_that_dies(cluster, tmp_path, "--retries", "1")
    cluster.order("add next 2 0")
    wait_for(lambda: len(cluster.record.read_text().split()) == 2)
    cluster.release.touch()
    _, errors = process.communicate(timeout=240)
    cluster.order("kill next")
    assert process.returncode == 0, errors
    (result,) = report_of(tmp_path).results
    assert (result.status, result.attempts) == ("completed", 2)
    assert "attempt 1 of trial" in result.notes[-1]
    assert ": killed in " in result.notes[-1]
    assert len(list(tmp_path.glob("reports/fake/*/trials/*/result.json"))) == 1


def _run_on_a_node_that_dies(cluster: Cluster, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    cluster.order("add short-lived 2 0")
    limits = ("-s", "measure.threads=2", "-s", "measure.stall_timeout_seconds=60")
    process = begin(cluster, folder, "seen_and_held", *limits, *arguments)
    wait_for(cluster.record.exists)
    cluster.order("kill short-lived")
    return process


def test_an_interrupted_run_cancels_its_trials_and_goes_on_later(cluster: Cluster, tmp_path: Path) -> None:
    process = begin(cluster, tmp_path, "seen_and_held", "-s", "measure.stall_timeout_seconds=60")
    wait_for(cluster.record.exists)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 130, errors
    assert time.monotonic() - began < 12
    wait_for(lambda: not cluster.trials(), 5.0)
    assert [result.status for result in report_of(tmp_path).results] == ["interrupted"]
    cluster.release.touch()
    process = begin(cluster, tmp_path, "seen_and_held", "-s", "measure.stall_timeout_seconds=60")
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert [result.status for result in report_of(tmp_path).results] == ["completed"]


def test_a_run_interrupted_while_it_connects_leaves_no_process(cluster: Cluster, tmp_path: Path) -> None:
    process = begin(cluster, tmp_path, "good", address="127.0.0.1:1")
    wait_for(lambda: cluster.processes("harness.running.ray.driver"))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 143, errors
    wait_for(lambda: not cluster.processes("harness.running.ray.driver"), 5.0)


def test_a_killed_run_leaves_no_process_on_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    process = begin(cluster, tmp_path, "seen_and_held", "-s", "measure.stall_timeout_seconds=60")
    wait_for(cluster.record.exists)
    assert len(cluster.trials()) >= 3
    process.kill()
    process.communicate()
    wait_for(lambda: not cluster.trials(), 5.0)


def test_a_cluster_that_is_lost_is_no_lost_report(cluster: Cluster, tmp_path: Path) -> None:
    process = begin(
        cluster, tmp_path, "seen_and_held", "-s", "measure.stall_timeout_seconds=60", seeds=(0, 1)
    )
    wait_for(cluster.record.exists)
    (driver,) = cluster.processes("harness.running.ray.driver")
    os.kill(int(driver.split()[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 1, errors
    assert [result.status for result in report_of(tmp_path).results] == ["killed", "killed"]
    assert "the connection to the cluster ended" in (report_of(tmp_path).results[1].reason or "")


def test_the_trials_of_a_slot_share_the_imports(cluster: Cluster, tmp_path: Path) -> None:
    process = begin(cluster, tmp_path, "good", "--runner", "tests.running.warm_runner:run", seeds=(2, 3, 4))
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert [result.notes for result in report_of(tmp_path).results] == [
        ("warmed for 2",), ("warmed for 2, 3",), ("warmed for 2, 3, 4",),
    ]  # fmt: skip


def test_plan_and_doctor_list_the_devices_of_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    suite = write_suite(tmp_path)

    def printed(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "harness", *arguments],
            cwd=tmp_path,
            env=cluster.environ(HF_HUB_OFFLINE="1", RAY_ADDRESS=cluster.address),
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    plan = printed("plan", str(suite), "--assets", "embedded", "--executor", "ray")
    assert f"  running on the Ray cluster {cluster.address}: 2 nodes, 1 CPUs, 0 GPUs\n" in plan
    assert re.search(r"^  \S+: 1 CPUs, \S", plan, re.MULTILINE)
    assert "  times on a cluster are not estimated\n" in plan
    assert re.search(
        rf"^ok +the Ray cluster {cluster.address}: 1 node can run trials$", printed("doctor"), re.MULTILINE
    )
