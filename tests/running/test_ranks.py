"""Trials on several devices: ranks that die, fail, hang or leave end their trial, which names them."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.model.environment import Torch
from harness.model.results import Report, TrialResult
from harness.model.seeds import number_of
from harness.model.suite import Measure, Suite
from harness.running.preflight import Machine
from harness.store.trial_folder import LOG, LOST_RANK
from tests.running.fakes import (
    fake_suite,
    only_report,
    processes_in,
    run_fake,
    start,
    wait_for_none_in,
    write_suite,
)
from tests.running.ranked_runners import BEHAVIOURS
from tests.running.test_run import _run_with

RUNNER = "tests.running.ranked_runners:ranked"
EXPECTED = {
    10: ("killed", "rank 1 of 3 was killed by SIGKILL"),
    11: ("killed", "rank 0 of 3 was killed by SIGKILL"),
    12: ("killed", "rank 1 of 3 was killed by SIGTERM"),
    13: ("killed", "rank 2 of 3 was killed by SIGKILL"),
    14: ("killed", "rank 1 of 3 was killed by SIGSEGV"),
    20: ("diverged", "rank 1: the loss of step 3 is not finite"),
    21: ("oom", "rank 1: no memory left"),
    22: ("failed", "ValueError: a bug of rank 0"),
    23: ("diverged", "the loss of step 3 is not finite in rank 0"),
    24: ("failed", "rank 1 ended before the others, with exit code 0"),
    25: ("failed", "rank 1 ended before the others, with exit code 9"),
    30: ("timeout", "made no progress for stall_timeout_seconds = 15"),
}


def ranked_suite(seeds: list[int], world_size: int = 3, **changes: Any) -> Suite:
    suite = fake_suite(seeds, **changes)
    return suite.model_copy(
        update={"matrix": suite.matrix | {"engine": ("loop",), "world_size": (world_size,)}}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def report(folder: Path) -> Iterator[Report]:
    """All behaviours in one run, and a good trial after each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        patch.setenv("HARNESS_CACHE_DIR", str(folder / "cache"))
        seeds = [seed for behaviour in BEHAVIOURS for seed in (behaviour, behaviour + 100)]
        suite = ranked_suite(seeds, measure=Measure(stall_timeout_seconds=15.0))
        yield run_fake(suite, folder / "reports", RUNNER, grace_s=0.3).report


@pytest.fixture(scope="module")
def results(report: Report) -> dict[int, TrialResult]:
    return {number_of(result.trial.seed, "init"): result for result in report.results}


@pytest.mark.parametrize("seed", EXPECTED)
def test_a_trial_names_the_rank_that_ended_it(seed: int, results: dict[int, TrialResult]) -> None:
    result = results[seed]
    assert (result.status, result.reason) == EXPECTED[seed]
    assert result.phase == "train"


def test_the_trials_after_them_complete_with_the_result_of_rank_0(results: dict[int, TrialResult]) -> None:
    after = [result for seed, result in results.items() if seed not in BEHAVIOURS]
    assert {(result.status, result.notes) for result in after} == {("completed", ("rank 0 of 3",))}


def test_every_rank_ran_and_its_output_is_in_the_log(report: Report, folder: Path) -> None:
    trial = next(result.trial for result in report.results if result.trial.seed == 110)
    place = next((folder / "reports").glob(f"*/*/trials/{trial.id}"))
    assert sorted(place.joinpath(LOG).read_text().splitlines()) == [
        f"rank {rank} of 3 was here" for rank in range(3)
    ]
    assert len({path.read_text() for path in place.glob("seen-*")}) == 1
    assert not place.joinpath(LOST_RANK).exists()


def test_the_error_of_a_rank_is_in_the_log_with_its_name(report: Report, folder: Path) -> None:
    trial = next(result.trial for result in report.results if result.trial.seed == 20)
    log = next((folder / "reports").glob(f"*/*/trials/{trial.id}/{LOG}")).read_text()
    assert "rank 1 of 3:\nTraceback" in log


def test_no_process_is_left(report: Report, folder: Path) -> None:
    assert wait_for_none_in(folder) == []


def test_a_lost_rank_is_worth_another_attempt_if_asked(tmp_path: Path) -> None:
    runner = "tests.running.ranked_runners:killed_once"
    (result,) = run_fake(ranked_suite([0], 2), tmp_path, runner, retries=1).report.results
    assert (result.status, result.attempts) == ("completed", 2)
    assert "rank 1 of 2 was killed by SIGKILL" in result.notes[-1]


def _suite_file(folder: Path) -> Path:
    path = write_suite(folder, [30])
    path.write_text(path.read_text().replace("  seed:", "  engine: [loop]\n  world_size: [3]\n  seed:"))
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_ranks(tmp_path: Path, number: int) -> None:
    line = start(_suite_file(tmp_path), "--runner", RUNNER, cwd=tmp_path)
    deadline = time.monotonic() + 180
    while len(_workers(tmp_path)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    line.send_signal(number)
    line.communicate(timeout=240)
    assert line.returncode == 128 + number
    assert wait_for_none_in(tmp_path / "reports") == []
    assert [result.status for result in only_report(tmp_path / "reports").results] == ["interrupted"]


def test_ranks_do_not_outlive_a_killed_run(tmp_path: Path) -> None:
    line = start(_suite_file(tmp_path), "--runner", RUNNER, cwd=tmp_path)
    deadline = time.monotonic() + 180
    while len(_workers(tmp_path)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    line.kill()
    line.communicate(timeout=240)
    assert wait_for_none_in(tmp_path / "reports", 20) == []


def _workers(folder: Path) -> list[str]:
    """The processes in the folders of trials."""
    trials = [path for path in (folder / "reports").glob("*/*/trials/*") if path.is_dir()]
    return [process for path in trials for process in processes_in(path)]


TWO_GPUS = Machine(("cuda:0", "cuda:1", "cpu"), Torch(installed=True, cuda="12.8"))


def test_too_few_devices_make_a_trial_unavailable_with_those_that_lack(tmp_path: Path) -> None:
    matrix: dict[str, tuple[object, ...]] = {
        "engine": ("loop",), "world_size": (1, 2), "device": ("cuda:0", "cuda:1"), "seed": (0,),
    }  # fmt: skip
    report = _run_with(tmp_path, matrix, TWO_GPUS)
    found = {(result.trial.device, result.trial.world_size): result for result in report.results}
    assert [result.status for key, result in found.items() if key != ("cuda:1", 2)] == ["completed"] * 3
    assert found["cuda:1", 2].reason == (
        "world_size 2 from cuda:1 on needs cuda:2: not here; this machine has cuda:0, cuda:1, cpu and "
        "torch is built for CUDA 12.8"
    )


def test_a_cluster_gives_a_trial_no_more_gpus_than_a_node_has(tmp_path: Path) -> None:
    cluster = Machine(("cuda:0", "cpu"), Torch(installed=True, cuda="12.8"), "the Ray cluster", together=2)
    matrix: dict[str, tuple[object, ...]] = {
        "engine": ("loop",), "world_size": (2, 4), "device": ("cuda:0",), "seed": (0,),
    }  # fmt: skip
    report = _run_with(tmp_path, matrix, cluster)
    assert [result.status for result in report.results] == ["completed", "unavailable"]
    assert report.results[1].reason == "world_size 4: no node of the Ray cluster has more than 2 GPUs"
