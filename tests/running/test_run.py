"""A run from suite to report: what is reused, what runs again, what is said, and what stops it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from harness.api import run_suite
from harness.assets.places import Note
from harness.errors import InvalidInputError, StorageError, UnavailableError
from harness.machine.facts import physical_cores
from harness.model.assets import AssetsMode, ResolvedCheckpoint, ResolvedData
from harness.model.environment import Torch
from harness.model.metrics import METRICS
from harness.model.results import Report, TrialResult
from harness.model.seeds import number_of
from harness.model.suite import Measure
from harness.model.tasks import Task
from harness.running import work
from harness.running.options import RunOptions
from harness.running.preflight import Machine
from harness.running.seams import Seams
from harness.store.reading import load_report
from harness.store.report_file import briefly
from harness.store.trial_folder import read_result, write_result
from harness.suite.matrix import expand
from tests.running.fakes import RUNNERS, Watcher, fake_suite, run_fake

TIMES = {"started", "duration_s", "created", "run", "load_average", "digest"}


def without_times(report: Report) -> object:
    """The report as JSON without what differs between two runs of the same."""

    def strip(value: object) -> object:
        if isinstance(value, dict):
            return {key: strip(inner) for key, inner in value.items() if key not in TIMES}
        return [strip(inner) for inner in value] if isinstance(value, list) else value

    return strip(json.loads(report.model_dump_json()))


def statuses(report: Report) -> list[str]:
    return [result.status for result in report.results]


def test_every_trial_becomes_a_row_and_the_files_lie_in_the_run_directory(tmp_path: Path) -> None:
    watcher = Watcher()
    run = run_fake(fake_suite(range(3)), tmp_path, watcher=watcher)
    assert statuses(run.report) == ["completed"] * 3
    assert {path.name for path in run.directory.iterdir()} >= {
        "suite.yaml", "plan.json", "trials", "report.json", "report.md", "report.html", "server.log",
    }  # fmt: skip
    assert load_report(run.directory) == run.report
    assert [trial.seed for trial in watcher.begun] == [0, 1, 2]
    assert [progress.phase for _, progress in watcher.progress][:2] == ["load_data", "train"]


def test_a_run_remembers_its_report_in_brief_and_reads_the_whole_one_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "briefly", partial(briefly, whole=1))
    run = run_fake(fake_suite(range(2)), tmp_path)
    assert "report" not in vars(run)
    assert [result.predictions for result in run.brief.results] == [None, None]
    assert all(result.predictions for result in run.report.results)
    for brief, whole in zip(run.brief.results, run.report.results, strict=True):
        for metric in METRICS:
            assert brief.value(metric) == whole.value(metric)


def test_what_trials_share_is_loaded_in_the_process_they_are_forked_from(tmp_path: Path) -> None:
    run = run_fake(fake_suite(range(3)), tmp_path, "tests.running.warm_runner:run")
    assert statuses(run.report) == ["completed"] * 3
    assert [result.notes[0] for result in run.report.results] == [
        "warmed for 0", "warmed for 0", "warmed for 0, 2",
    ]  # fmt: skip
    log = (run.directory / "server.log").read_text()
    assert "not loaded beforehand for trial " in log
    assert "RuntimeError: no such checkpoint" in log


class _Damager(Watcher):
    """Tears each result as soon as it is there."""

    def finished(self, result: TrialResult) -> None:
        (path,) = self.reports.glob(f"fake/*/trials/{result.trial.id}/result.json")
        path.write_bytes(path.read_bytes()[:-100])

    def __init__(self, reports: Path) -> None:
        super().__init__()
        self.reports = reports


def test_a_result_damaged_before_the_report_is_said_and_its_trial_runs_again(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="a finished result was damaged") as caught:
        run_fake(fake_suite([0]), tmp_path, watcher=_Damager(tmp_path))
    assert "that trial runs again" in (caught.value.hint or "")
    assert not list(tmp_path.glob("fake/*/report.json"))
    watcher = Watcher()
    assert statuses(run_fake(fake_suite([0]), tmp_path, watcher=watcher).report) == ["completed"]
    assert len(watcher.begun) == 1


def test_what_was_chosen_is_said_before_the_first_trial_and_stands_in_the_report(tmp_path: Path) -> None:
    watcher = Watcher()
    report = run_fake(fake_suite([0]), tmp_path, watcher=watcher).report
    assert report.notes == (
        "checkpoint bert-base-uncased: stand-in embedded/bert-uncased, embedded",
        "data glue/mrpc: embedded/pairs, embedded, synthetic",
    )
    assert set(report.notes) <= set(watcher.notes)


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    first, second = (run_fake(fake_suite([0]), tmp_path) for _ in range(2))
    assert first.directory != second.directory


def _unfinished(tmp_path: Path, seeds: range = range(4)) -> Path:
    """A run whose trials with seed 2 and up are not done: as if its parent had been killed."""
    run = run_fake(fake_suite(seeds), tmp_path)
    (run.directory / "report.json").unlink()
    for result in run.brief.results:
        if number_of(result.trial.seed, "init") >= 2:
            (run.directory / "trials" / result.trial.id / "result.json").unlink()
    return run.directory


def test_an_unfinished_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    directory = _unfinished(tmp_path)
    watcher = Watcher()
    run = run_fake(fake_suite(range(4)), tmp_path, watcher=watcher)
    assert run.directory == directory
    assert [trial.seed for trial in watcher.begun] == [2, 3]
    assert f"resuming {directory.name}: 2 of 4 trials are done" in watcher.notes


def test_a_resumed_report_equals_an_uninterrupted_one_outside_times(tmp_path: Path) -> None:
    _unfinished(tmp_path / "a")
    resumed = run_fake(fake_suite(range(4)), tmp_path / "a").report
    whole = run_fake(fake_suite(range(4)), tmp_path / "b").report
    assert without_times(resumed) == without_times(whole)


def test_fresh_starts_anew(tmp_path: Path) -> None:
    directory = _unfinished(tmp_path)
    watcher = Watcher()
    run = run_fake(fake_suite(range(4)), tmp_path, watcher=watcher, fresh=True)
    assert run.directory != directory
    assert len(watcher.begun) == 4


def test_a_changed_environment_runs_again_and_says_which_field_differs(tmp_path: Path) -> None:
    directory = _unfinished(tmp_path)
    _edit_results(directory, lambda result: _with_torch(result, "2.12.0"))
    watcher = Watcher()
    run_fake(fake_suite(range(4)), tmp_path, watcher=watcher)
    assert len(watcher.begun) == 4
    assert any("2 finished trials will run again: torch was 2.12.0, is" in note for note in watcher.notes)


def _edit_results(directory: Path, change: Callable[[TrialResult], TrialResult]) -> None:
    for folder in (directory / "trials").iterdir():
        if (folder / "result.json").exists():
            write_result(folder, change(read_result(folder)))


def _with_torch(result: TrialResult, version: str) -> TrialResult:
    assert result.environment is not None
    packages = result.environment.packages | {"torch": version}
    environment = result.environment.model_copy(update={"packages": packages})
    return result.model_copy(update={"environment": environment})


def test_an_edited_suite_takes_over_what_still_belongs_to_it(tmp_path: Path) -> None:
    directory = _unfinished(tmp_path)
    watcher = Watcher()
    run = run_fake(fake_suite(range(1, 6)), tmp_path, watcher=watcher)
    assert run.directory != directory
    assert f"the suite was edited since {directory.name}: 2 new, 1 reused, 1 gone" in watcher.notes
    old, new = (
        {trial.seed: trial.id for trial in expand(fake_suite(seeds), ("cpu",))}
        for seeds in (range(4), range(1, 6))
    )
    assert f"new: {', '.join(sorted((new[4], new[5])))}" in watcher.notes
    assert f"reused: {new[1]}" in watcher.notes
    assert f"gone: {old[0]}" in watcher.notes
    assert [trial.seed for trial in watcher.begun] == [2, 3, 4, 5]
    assert statuses(run.report) == ["completed"] * 5


def test_a_torn_result_is_reported_and_run_again(tmp_path: Path) -> None:
    directory = _unfinished(tmp_path)
    torn = next(path for path in directory.glob("trials/*/result.json"))
    torn.write_bytes(torn.read_bytes()[:-100])
    watcher = Watcher()
    run_fake(fake_suite(range(4)), tmp_path, watcher=watcher)
    assert len(watcher.begun) == 3
    assert any(note.startswith("not counted as done:") for note in watcher.notes)


def test_a_failed_trial_keeps_its_log_reason_and_environment_when_the_run_goes_on(tmp_path: Path) -> None:
    suite = fake_suite([112, 1])
    first = run_fake(suite, tmp_path, "hostile")
    (failed,) = (result for result in first.report.results if result.trial.seed == 112)
    assert "rubbish" in failed.log_tail
    (first.directory / "report.json").unlink()
    second = run_fake(suite, tmp_path, "hostile")
    assert second.directory == first.directory
    assert [result for result in second.report.results if result.trial.seed == 112] == [failed]


def test_the_result_of_a_worker_is_not_written_again(tmp_path: Path) -> None:
    run = run_fake(fake_suite([112, 124]), tmp_path, "hostile")
    for result in run.report.results:
        folder = run.directory / "trials" / result.trial.id
        stored = json.loads((folder / "result.json").read_text())["result"]
        # The end of its log is known after its last act only.
        assert (stored["log_tail"], bool(result.log_tail)) == ("", True)
        assert stored["environment"]["threads"] == physical_cores()
        assert read_result(folder) == result


def test_a_trial_that_is_tried_again_counts_its_attempts_in_the_workers_own_result(tmp_path: Path) -> None:
    watcher = Watcher()
    run = run_fake(fake_suite([104]), tmp_path, "hostile", watcher=watcher, retries=1)
    (result,) = run.report.results
    assert (result.attempts, result.status) == (2, "killed")
    assert result.notes == (f"attempt 1 of trial {result.trial.id}: killed in train: {result.reason}",)
    assert read_result(run.directory / "trials" / result.trial.id) == result


def test_a_trial_that_is_skipped_has_no_log_of_an_earlier_attempt(tmp_path: Path) -> None:
    matrix = fake_suite().matrix | {"padding": ("static", "dynamic"), "seed": (104, 112)}
    suite = fake_suite(matrix=matrix)
    first = run_fake(suite, tmp_path, "hostile")
    assert any("rubbish" in result.log_tail for result in first.report.results)
    again = run_fake(suite, tmp_path, "hostile", rerun="failed", stop_after_same_error=1)
    assert again.directory == first.directory
    skipped = [result for result in again.report.results if result.trial.seed == 112]
    assert ["not run: all 1 trials" in (result.reason or "") for result in skipped] == [True, True]
    for result in skipped:
        assert result.log_tail == ""
        assert read_result(again.directory / "trials" / result.trial.id) == result


def test_failed_trials_stay_unless_they_are_to_run_again(tmp_path: Path) -> None:
    suite = fake_suite([0, 102, 104])
    first = run_fake(suite, tmp_path, "hostile")
    assert statuses(first.report) == ["completed", "failed", "killed"]
    (first.directory / "report.json").unlink()
    watcher = Watcher()
    resumed = run_fake(suite, tmp_path, "hostile", watcher)
    assert [trial.seed for trial in watcher.begun] == [104]
    assert statuses(resumed.report) == statuses(first.report)
    watcher = Watcher()
    again = run_fake(suite, tmp_path, "good", watcher, rerun="failed")
    assert again.directory == first.directory
    assert [trial.seed for trial in watcher.begun] == [102, 104]
    assert statuses(again.report) == ["completed"] * 3
    watcher = Watcher()
    run_fake(suite, tmp_path, "good", watcher, rerun="all")
    assert len(watcher.begun) == 3


def test_a_killed_training_continues_unless_all_are_to_run_again(tmp_path: Path) -> None:
    suite = fake_suite([0])
    run = run_fake(suite, tmp_path, "keeping_its_state")
    (state,) = run.directory.glob("trials/*/state.bin")
    for rerun, continues in (("failed", True), ("all", False)):
        state.touch()
        (result,) = run_fake(suite, tmp_path, "noting_its_state", rerun=rerun).report.results
        assert result.notes == (f"state: {continues}",)


def test_retries_are_for_what_a_trial_could_not_help_and_every_attempt_is_kept(tmp_path: Path) -> None:
    report = run_fake(fake_suite([102, 104]), tmp_path, "hostile", retries=2).report
    failed, killed = report.results
    assert (failed.attempts, failed.notes) == (1, ())
    assert killed.attempts == 3
    assert [note.split(" of ")[0] for note in killed.notes] == ["attempt 1", "attempt 2"]
    assert "SIGKILL" in killed.notes[0]


def test_fail_fast_leaves_the_rest_pending(tmp_path: Path) -> None:
    report = run_fake(fake_suite([0, 102, 1]), tmp_path, "hostile", fail_fast=True).report
    assert statuses(report) == ["completed", "failed", "pending"]


def test_a_runner_that_cannot_be_imported_is_a_failure_that_names_it(tmp_path: Path) -> None:
    run = run_suite(
        fake_suite(range(4)),
        RunOptions(assets="embedded", reports=tmp_path, runner="tests.running.no_such_runner:run"),
    )
    assert statuses(run.report) == ["failed"] * 4
    assert "ModuleNotFoundError" in (run.report.results[0].reason or "")
    assert "tried 2 times" in (run.report.results[3].reason or "")


def test_a_trial_timeout_ends_the_trial(tmp_path: Path) -> None:
    report = run_fake(fake_suite([106]), tmp_path, "hostile", trial_timeout_s=0.5, grace_s=0.2).report
    assert report.results[0].status == "timeout"
    assert "trial_timeout_seconds = 0.5" in (report.results[0].reason or "")


def test_a_worker_that_never_says_anything_ends_at_the_start_limit(tmp_path: Path) -> None:
    suite = fake_suite([0], measure=Measure(start_timeout_seconds=0.3))
    report = run_fake(suite, tmp_path, "mute").report
    assert "start_timeout_seconds = 0.3" in (report.results[0].reason or "")


def test_an_import_that_hangs_is_inside_the_start_limit(tmp_path: Path) -> None:
    suite = fake_suite([0], measure=Measure(start_timeout_seconds=0.3))
    options = RunOptions(
        assets="embedded",
        reports=tmp_path,
        runner="tests.running.hanging_import:run",
        grace_s=0.1,
        parity=False,
    )
    report = run_suite(suite, options).report
    assert (report.results[0].status, report.results[0].phase) == ("timeout", "start")


def test_loading_beforehand_that_hangs_is_inside_the_start_limit_and_the_next_trial_runs(
    tmp_path: Path,
) -> None:
    suite = fake_suite([9, 0], measure=Measure(start_timeout_seconds=3))
    report = run_fake(suite, tmp_path, "tests.running.warm_runner:run", grace_s=0.1).report
    assert [(result.status, result.phase) for result in report.results] == [
        ("timeout", "start"), ("completed", "write"),
    ]  # fmt: skip


class _Assets:
    """Finds everything but what is called `missing`."""

    def __init__(self, mode: AssetsMode) -> None:
        self._mode = mode

    def checkpoint(self, name: str, revision: str | None, note: Note) -> ResolvedCheckpoint:
        if name == "missing":
            raise UnavailableError("missing: the Hub has no such model", hint="Check the name.")
        return ResolvedCheckpoint(requested=name, name=name, source="hub cache", path="/x", revision="c" * 40)

    def data(self, task: Task, note: Note) -> ResolvedData:
        return ResolvedData(
            requested=task.name, name=task.name, source="hub", layout="parquet", files={}, revision="d" * 40
        )


def _run_with(
    tmp_path: Path, matrix: dict[str, tuple[object, ...]], machine: Machine, **options: bool
) -> Report:
    suite = fake_suite()
    suite = suite.model_copy(update={"matrix": suite.matrix | matrix})
    return run_suite(
        suite,
        RunOptions(reports=tmp_path, runner=f"{RUNNERS}:good", strict=options.get("strict", False)),
        seams=Seams(assets=_Assets, machine=lambda: machine),
    ).report


CPU_ONLY = Machine(("cpu",), Torch(installed=True))
ONE_GPU = Machine(("cuda:0", "cpu"), Torch(installed=True, cuda="12.8"))


def test_a_missing_checkpoint_makes_its_trials_unavailable_and_the_others_run(tmp_path: Path) -> None:
    report = _run_with(tmp_path, {"checkpoint": ("missing", "there")}, CPU_ONLY)
    assert sorted(statuses(report)) == ["completed", "completed", "unavailable", "unavailable"]
    row = next(result for result in report.results if result.status == "unavailable")
    assert row.reason == "missing: the Hub has no such model; Check the name."


def test_a_missing_device_is_unavailable_with_the_devices_that_are_here(tmp_path: Path) -> None:
    report = _run_with(tmp_path, {"device": ("cuda:3", "cpu")}, ONE_GPU)
    row = next(result for result in report.results if result.status == "unavailable")
    assert row.trial.device == "cuda:3"
    assert row.reason == "cuda:3: not here; this machine has cuda:0, cpu and torch is built for CUDA 12.8"


def test_strict_runs_nothing_when_anything_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        UnavailableError, match="2 of 4 trials cannot run:\nmissing: the Hub has no such model"
    ):
        _run_with(tmp_path, {"checkpoint": ("missing", "there")}, CPU_ONLY, strict=True)
    assert not any(tmp_path.iterdir())


def test_when_nothing_can_run_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cuda:0: not here"):
        _run_with(tmp_path, {"device": ("cuda:0",)}, CPU_ONLY)
    assert not any(tmp_path.iterdir())


def test_several_trials_at_once_share_the_cores_and_are_marked(tmp_path: Path) -> None:
    watcher = Watcher()
    report = run_fake(fake_suite(range(4)), tmp_path, "slow", watcher, jobs=2).report
    assert watcher.begun_before_first_end == 2
    assert [result.concurrent for result in report.results] == [2] * 4
    assert {result.environment.threads for result in report.results if result.environment} == {
        max(1, physical_cores() // 2)
    }


def test_trials_that_fail_beside_others_are_marked_too(tmp_path: Path) -> None:
    report = run_fake(fake_suite([100, 101, 124]), tmp_path, "hostile", jobs=2).report
    assert [(result.status, result.concurrent) for result in report.results] == [
        ("killed", 2), ("completed", 2), ("diverged", 2),
    ]  # fmt: skip


def test_threads_that_a_suite_names_are_not_divided(tmp_path: Path) -> None:
    suite = fake_suite([0], measure=Measure(threads=3))
    (result,) = run_fake(suite, tmp_path, jobs=2).report.results
    assert result.environment is not None
    assert result.environment.threads == 3


def test_different_devices_run_at_the_same_time(tmp_path: Path) -> None:
    suite = fake_suite([0])
    suite = suite.model_copy(update={"matrix": suite.matrix | {"device": ("cuda:0", "cpu")}})
    watcher = Watcher()
    report = run_suite(
        suite,
        RunOptions(reports=tmp_path, runner=f"{RUNNERS}:slow"),
        observer=watcher,
        seams=Seams(assets=_Assets, machine=lambda: ONE_GPU),
    ).report
    assert statuses(report) == ["completed"] * 2
    assert watcher.begun_before_first_end == 2


def test_a_suite_that_holds_a_secret_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    suite = fake_suite([0], task=Task(data_dir="https://me:hunter2pass@host/mrpc"))
    with pytest.raises(InvalidInputError, match=r"task\.data_dir") as caught:
        run_fake(suite, tmp_path)
    assert "hunter2pass" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_workers_have_no_secrets_threads_as_asked_and_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 30)
    run = run_fake(fake_suite([0], measure=Measure(threads=1)), tmp_path, "show_environment")
    (log,) = run.directory.glob("trials/*/log")
    seen = json.loads(log.read_text().splitlines()[0])
    assert "HF_TOKEN" not in seen
    assert (seen["OMP_NUM_THREADS"], seen["HF_HUB_OFFLINE"]) == ("1", "1")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_for_reports_that_cannot_be_written_stops_before_training(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Exception, match="cannot"):
        run_fake(fake_suite([0]), tmp_path / "reports")


def test_an_attempt_finds_the_state_that_a_killed_one_left_and_a_finished_trial_leaves_none(
    tmp_path: Path,
) -> None:
    run = run_fake(fake_suite([0]), tmp_path, "killed_with_state", retries=1)
    (result,) = run.report.results
    assert (result.status, result.attempts) == ("completed", 2)
    assert "a state" in result.notes
    assert not list(run.directory.glob("trials/*/state.bin"))
