"""Trials as jobs of Slurm, here processes of this machine: by submitit, or by stand-ins for its programs."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harness.api import Run, RunOptions, run_suite
from harness.errors import InvalidInputError, UnavailableError
from harness.machine.requirements import require_extra
from harness.model.job import Observer, Progress
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.running.seams import Seams, seams_of
from harness.running.slurm.cluster import SlurmCluster, require_shared, slurm_parameters
from harness.running.slurm.jobs import QUICK
from tests.running.fakes import (
    RUNNERS,
    Watcher,
    fake_suite,
    only_report,
    run_fake,
    start,
    wait_for_none_in,
    write_suite,
)
from tests.running.slurm_programs import install

submitit = pytest.importorskip("submitit", reason="submitit is not installed (extra `slurm`)")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Killer(Watcher):
    """Ends the jobs of a run as a lost node or Slurm does, once a trial has announced where it is."""

    def __init__(self, reports: Path, number: int = signal.SIGKILL) -> None:
        super().__init__()
        self._reports = reports
        self._number = number

    def progressed(self, trial: Trial, progress: Progress) -> None:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = process.cmdline()
                if "submitit.core._submit" in line and str(self._reports) in line[-1]:
                    process.send_signal(self._number)


def run_local(
    suite: Suite, reports: Path, runner: str, watcher: Observer | None = None, **options: object
) -> Run:
    """Run the suite with submitit's executor for this machine."""
    return run_fake(suite, reports, runner, watcher, executor="slurm", slurm_local=True, **options)


def test_trials_run_as_jobs_and_end_as_on_this_machine(tmp_path: Path) -> None:
    watcher = Watcher()
    run = run_local(fake_suite((0, 1)), tmp_path, "good", watcher)
    assert [result.status for result in run.report.results] == ["completed", "completed"]
    assert "running as jobs of Slurm: with its defaults" in watcher.notes
    assert watcher.begun_before_first_end == 2
    assert list(run.directory.glob("slurm/*/*.jsonl")) == []


def test_a_trial_that_exceeds_a_limit_is_ended_on_its_node(tmp_path: Path) -> None:
    suite = fake_suite((0,), measure={"trial_timeout_seconds": 0.2})
    (result,) = run_local(suite, tmp_path, "talking", grace_s=0.5).report.results
    assert result.status == "timeout"
    assert "trial_timeout_seconds = 0.2" in (result.reason or "")


def test_a_job_that_is_killed_gives_a_row_with_the_end_of_its_log(tmp_path: Path) -> None:
    (result,) = run_local(fake_suite((0,)), tmp_path, "talking", Killer(tmp_path)).report.results
    assert result.status == "killed"
    assert "without a result" in (result.reason or "")
    assert "working on seed 0" in result.log_tail
    assert result.phase == "train"


def test_a_killed_trial_runs_again_where_retries_are_asked_for(tmp_path: Path) -> None:
    run = run_local(fake_suite((0,)), tmp_path, "killed_with_state", retries=1)
    (result,) = run.report.results
    assert (result.status, result.attempts) == ("completed", 2)


def test_ctrl_c_cancels_all_jobs_and_leaves_a_report(tmp_path: Path) -> None:
    arguments = (write_suite(tmp_path), "--executor", "slurm", "--slurm-local")
    run = start(*arguments, cwd=tmp_path, runner="talking")
    wait_for(lambda: len([file for file in tmp_path.rglob("progress.jsonl") if file.read_bytes()]) == 2)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=240)
    assert run.returncode == 130
    assert [result.status for result in only_report(tmp_path / "reports").results] == ["interrupted"] * 2
    assert wait_for_none_in(tmp_path) == []


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the stand-ins for Slurm's programs keep their jobs."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    install(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("FAKE_SLURM", str(jobs))
    # submitit remembers which jobs have ended, and here a number comes again.
    submitit.SlurmJob.watcher.clear()
    return jobs


def run_on_slurm(
    suite: Suite, reports: Path, runner: str, *given: str, watcher: Observer | None = None
) -> Run:
    """Run the suite with the stand-ins, which submitit takes for Slurm."""
    cluster = SlurmCluster(slurm_parameters(given), pace=QUICK)
    options = RunOptions(assets="embedded", reports=reports, parity=False, runner=f"{RUNNERS}:{runner}")
    seams = Seams(machine=cluster.machine, executor=cluster.executor, count=cluster.count)
    return run_suite(suite, options, observer=watcher, seams=seams)


def test_each_trial_is_an_element_of_a_job_array(tmp_path: Path, slurm: Path) -> None:
    suite = fake_suite((0, 1, 2), measure={"threads": 2})
    given = ("partition=short", "time=01:00:00", "gpus=1", "array-parallelism=2")
    run = run_on_slurm(suite, tmp_path / "reports", "good", *given)
    assert [result.status for result in run.report.results] == ["completed"] * 3
    (script,) = (file.read_text() for file in slurm.glob("*.sh"))
    wanted = ("array=0-2%2", "cpus-per-task=2", "exclusive", "no-requeue", "partition=short", "time=01:00:00")
    for option in wanted:
        assert f"#SBATCH --{option}\n" in script
    # A trial on the CPU needs no GPU.
    assert "gpus" not in script


def test_a_lost_node_kills_its_trial_and_not_the_run(tmp_path: Path, slurm: Path) -> None:
    reports = tmp_path / "reports"
    run = run_on_slurm(fake_suite((0,)), reports, "talking", watcher=Killer(reports))
    (result,) = run.report.results
    assert result.status == "killed"
    assert "job 100 ended as NODE_FAIL without a result" in (result.reason or "")
    assert "working on seed 0" in result.log_tail


def test_a_trial_whose_time_is_over_is_killed_and_not_put_into_the_queue_again(
    tmp_path: Path, slurm: Path
) -> None:
    reports = tmp_path / "reports"
    run = run_on_slurm(fake_suite((0,)), reports, "talking", watcher=Killer(reports, signal.SIGUSR2))
    (result,) = run.report.results
    assert result.status == "killed"
    assert "Slurm ended its job by SIGUSR2: its time (--slurm time) is over" in (result.reason or "")
    assert "working on seed 0" in result.log_tail
    assert len(list(slurm.glob("*.pid"))) == 1


def test_a_suite_for_a_gpu_names_the_option_that_asks_for_one(tmp_path: Path, slurm: Path) -> None:
    matrix = {"checkpoint": ("bert-base-uncased",), "device": ("cuda:0",), "seed": (0,)}
    with pytest.raises(UnavailableError, match=r"where a trial has the GPUs that --slurm gpus=N asks for"):
        run_on_slurm(fake_suite(matrix=matrix), tmp_path / "reports", "good")


def test_jobs_that_a_killed_run_has_left_are_cancelled_by_the_next(tmp_path: Path, slurm: Path) -> None:
    first = run_on_slurm(fake_suite((0, 1)), tmp_path / "reports", "good")
    left = first.directory / "slurm" / "left"
    left.mkdir(parents=True, exist_ok=True)
    (left / "jobs").write_text("77_0\n77_1\n")
    (first.directory / "trials").joinpath(first.report.results[0].trial.id, "result.json").unlink()
    (first.directory / "report.json").unlink()
    watcher = Watcher()
    run_on_slurm(fake_suite((0, 1)), tmp_path / "reports", "good", watcher=watcher)
    assert (len(watcher.reused), len(watcher.begun)) == (1, 1)
    assert "77_0 77_1\n" in (slurm / "cancelled").read_text()
    assert not left.exists()


def test_a_job_that_slurm_does_not_take_ends_the_run_with_its_words(tmp_path: Path, slurm: Path) -> None:
    with pytest.raises(UnavailableError, match="invalid partition specified: none"):
        run_on_slurm(fake_suite((0,)), tmp_path / "reports", "good", "partition=none")


@pytest.mark.parametrize(
    "given",
    [
        ("Partition=a",),
        ("array-parallelism=0",),
        ("array=0-3",),
        ("mem=1G", "mem=2G"),
        ("comment=a\nb",),
        ("exclusive=user",),
        ("=1",),
    ],
)
def test_options_that_sbatch_must_not_get_are_refused(given: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInputError, match="--slurm"):
        slurm_parameters(given)


@pytest.mark.parametrize(
    ("given", "together"), [("gpus=2", 2), ("gres=gpu:a100:4", 4), ("gpus=a100", 1), ("gres=gpu", 1)]
)
def test_gpus_are_those_that_are_asked_for(given: str, together: int) -> None:
    machine = SlurmCluster(slurm_parameters([given])).machine()
    assert (machine.devices, machine.together) == (("cuda:0", "cpu"), together)
    for other in ("gres=disk:2", "mem-per-gpu=4"):
        assert SlurmCluster(slurm_parameters([other])).machine().devices == ("cpu",)


def test_a_folder_that_other_nodes_do_not_see_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="other nodes do not see this folder"):
        require_shared(tmp_path / "reports")


def test_without_slurm_the_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    wanted = pytest.raises(UnavailableError, match="no program sbatch, srun, sacct, scancel")
    with wanted, seams_of(RunOptions(executor="slurm"), None, lambda _note: None):
        pass


def test_options_of_slurm_without_the_executor_are_refused() -> None:
    wanted = pytest.raises(InvalidInputError, match="options of Slurm")
    with wanted, seams_of(RunOptions(slurm=("gpus=1",)), None, lambda _note: None):
        pass


def test_without_the_package_the_extra_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"jobs of Slurm needs submitit>=1.5, found none"):
        require_extra("slurm", ['submitit>=1.5; extra == "slurm"'], lambda _name: None)
