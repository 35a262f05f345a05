"""A run on a file system that fills up: it ends with 74, keeps what was finished, and goes on later."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.api import render_files
from harness.errors import StorageError
from harness.model.results import Report
from harness.running.merging import merge_runs
from harness.store.listing import describe_run
from harness.store.suite_runs import find_latest
from tests.running.fakes import (
    Watcher,
    fake_suite,
    forked,
    run_fake,
    run_line,
    start,
    wait_for_none_in,
    write_suite,
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB, which only root can mount."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_with_74_and_it_goes_on_once_there_is_space(
    small_disk: Path, tmp_path: Path
) -> None:
    suite, record = write_suite(tmp_path, range(20)), tmp_path / "record"

    def run() -> tuple[str, int]:
        process = start(
            "--reports", small_disk, suite, cwd=tmp_path, runner="recorded", FAKE_RECORD=str(record)
        )
        return process.communicate(timeout=240)[1].replace("\n", " "), process.returncode

    errors, code = run()
    assert code == 74, errors
    assert "Free some space" in errors
    assert "Traceback" not in errors
    unfinished = find_latest(small_disk, "fake")
    assert unfinished is not None
    finished, problems = unfinished.results()
    assert 0 < len(finished) < 20
    assert problems == []
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    lines = len(record.read_text().splitlines())
    errors, code = run()
    assert code == 0, errors
    assert f"{len(finished)} of 20 trials are done" in errors
    assert not finished.keys() & set(record.read_text().splitlines()[lines:])


def test_a_full_disk_elsewhere_ends_the_run_with_74_and_it_goes_on_once_there_is_space(
    tmp_path: Path,
) -> None:
    suite = fake_suite(range(3))
    with pytest.raises(StorageError, match="in tokenize: there is no space left") as caught:
        run_fake(suite, tmp_path, "without_space")
    assert caught.value.exit_code == 74
    assert "Free some space" in (caught.value.hint or "")
    assert wait_for_none_in(tmp_path) == []
    watcher = Watcher()
    report = run_fake(suite, tmp_path, "good", watcher).report
    assert [trial.seed for trial in watcher.begun] == [1, 2]
    assert {result.status for result in report.results} == {"completed"}


def test_a_full_disk_for_models_ends_the_run_with_74_and_its_trials_run_again_with_space(
    small_disk: Path, tmp_path: Path
) -> None:
    suite, models = fake_suite(range(2)), small_disk / "models"
    with pytest.raises(StorageError, match="there is no space left") as caught:
        run_fake(suite, tmp_path, "saving_much", save_models=models)
    assert "Free some space" in (caught.value.hint or "")
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    shutil.rmtree(models)
    report = run_fake(suite, tmp_path, "saving_much", save_models=models).report
    assert {result.status for result in report.results} == {"completed"}
    assert {folder.name for folder in models.iterdir()} == {result.trial.id for result in report.results}


def test_a_folder_for_models_that_cannot_be_written_is_told_before_any_training(
    small_disk: Path, tmp_path: Path
) -> None:
    (small_disk / "models").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    watcher = Watcher()
    with pytest.raises(StorageError, match=r"cannot write into .*models: Read-only file system"):
        run_fake(fake_suite(), tmp_path, "saving", watcher, save_models=small_disk / "models")
    assert watcher.begun == []


def test_a_full_disk_for_the_output_names_the_report_which_is_kept(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * 96 * 1024)
    line = run_line(write_suite(tmp_path), "-o", small_disk / "out.json")
    done = forked(*line, cwd=tmp_path)
    told = done.stderr.replace("\n", " ")
    assert done.returncode == 74
    assert f"cannot write {small_disk / 'out.json'}: No space left on device" in told
    (report,) = tmp_path.glob("reports/fake/*/report.json")
    assert f"report: {report}" in told
    assert f"write it again: harness show {report.parent} -o FILE" in told
    assert {file.name for file in small_disk.iterdir()} == {"filler"}


def test_a_full_disk_under_a_merge_leaves_nothing_and_the_same_merge_follows_with_space(
    small_disk: Path, tmp_path: Path
) -> None:
    suite, output = fake_suite(range(12)), small_disk / "merged"
    runs = [run_fake(suite, tmp_path / shard, shard=f"{shard}/2").directory for shard in "12"]
    with pytest.raises(StorageError, match="No space left on device"):
        merge_runs(runs, output, render_files)
    assert [*small_disk.iterdir()] == []
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    states = []

    def render(report: Report) -> tuple[str, str | None]:
        states.append(describe_run(output).state)
        return render_files(report)

    assert len(merge_runs(runs, output, render).results) == 12
    assert states == ["running"]
    assert describe_run(output).state == "finished"


def test_a_file_that_a_trial_could_not_write_is_named_in_its_reason(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        run_fake(fake_suite(range(2)), tmp_path, "without_place")
    run = find_latest(tmp_path, "fake")
    assert run is not None
    failed, full = run.plan.trial_ids
    assert run.stored(failed).reason == "cannot write state.bin: Read-only file system"
    what = "there is no space left to write to: cannot write state.bin: No space left on device"
    assert caught.value.message == f"trial {full} in start: {what}"
    assert "Free some space" in (caught.value.hint or "")
