"""Closed and full streams, folders that vanish, a damaged plan: the run goes on or ends with its code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store.reading import load_report
from harness.store.run_directory import open_run
from tests.running.fakes import (
    command,
    environ,
    forked,
    only_report,
    run_line,
    start,
    wait_for_none_in,
    write_suite,
)

pytestmark = pytest.mark.timeout(120)


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


def _in_shell(redirections: str, *arguments: str | Path, cwd: Path, **changes: str) -> int:
    """The exit code of `harness run` under a shell's redirections."""
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirections}', "bash", *command(*arguments)],
        cwd=cwd,
        env=environ(**changes),
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    return done.returncode


@pytest.mark.parametrize(
    ("redirections", "code"),
    [
        (">&-", 0),
        ("2>&-", 0),
        ("<&-", 0),
        ("<&- >&- 2>&-", 0),
        ("2> >(true)", 0),
        pytest.param("2>/dev/full", 0, marks=needs_full),
        pytest.param(">/dev/full 2>/dev/full", 74, marks=needs_full),
    ],
)
def test_a_run_with_closed_or_full_streams_writes_its_report(
    tmp_path: Path, redirections: str, code: int
) -> None:
    assert _in_shell(redirections, write_suite(tmp_path), cwd=tmp_path) == code
    report = only_report(tmp_path / "reports")
    assert [result.status for result in report.results] == ["completed", "completed"]
    # No file got what was meant for a closed descriptor.
    for file in tmp_path.glob("reports/*/*/*.json"):
        json.loads(file.read_bytes())


def test_a_current_directory_that_does_not_exist_is_told_or_not_needed(tmp_path: Path) -> None:
    suite, gone = write_suite(tmp_path), tmp_path / "gone"
    for reports, code in ((str(tmp_path / "reports"), 0), ("reports", 74)):
        gone.mkdir()
        done = subprocess.run(
            ["bash", "-c", 'rmdir "$PWD" && exec "$@"', "bash", *command(suite, "--reports", reports)],
            cwd=gone,
            env=environ(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
    assert "the current directory does not exist any more" in done.stderr


class Held:
    """A run of three trials, the second of which waits to be released."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.release = folder / "release"
        self.here = folder / "here"
        self.here.mkdir()
        self._process = start(
            write_suite(folder, [0, 1, 2]), "--reports", str(folder / "reports"), *arguments,
            cwd=self.here, runner="second_held", FAKE_RELEASE=str(self.release),
        )  # fmt: skip
        self.wait(lambda: len(self.results()) == 1 and len(list(self.folders())) == 2)

    def folders(self) -> list[Path]:
        return list(self.folder.glob("reports/*/*/trials/*"))

    def results(self) -> list[Path]:
        return list(self.folder.glob("reports/*/*/trials/*/result.json"))

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 180
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        self.release.touch()
        _, errors = self._process.communicate(timeout=240)
        assert "Traceback" not in errors
        assert wait_for_none_in(self.folder) == []
        return self._process.returncode, errors


def test_a_current_directory_that_vanishes_during_a_run_does_not_matter(tmp_path: Path) -> None:
    run = Held(tmp_path)
    shutil.rmtree(run.here)
    assert run.end()[0] == 0
    assert only_report(tmp_path / "reports").environment.git is None


def test_a_finished_result_that_vanishes_is_pending_in_the_report_and_runs_again(tmp_path: Path) -> None:
    run = Held(tmp_path)
    shutil.rmtree(run.results()[0].parent)
    code, errors = run.end()
    assert code == 1
    assert "was removed during the run; run the same command again" in errors
    (file,) = tmp_path.glob("reports/*/*/report.json")
    assert [result.status for result in load_report(file).results] == ["pending", "completed", "completed"]
    line = run_line("fake.yaml", runner="second_held")
    again = forked(*line, cwd=tmp_path, environment=environ(FAKE_RELEASE=str(run.release)))
    assert again.returncode == 0, again.stderr
    assert "2 of 3 trials are done" in again.stderr
    assert [result.status for result in load_report(file).results] == ["completed"] * 3


def test_the_folder_of_a_running_trial_that_vanishes_costs_that_trial_alone(tmp_path: Path) -> None:
    run = Held(tmp_path)
    (held,) = [folder for folder in run.folders() if not (folder / "result.json").exists()]
    shutil.rmtree(held)
    assert run.end()[0] == 1
    statuses = [result.status for result in only_report(tmp_path / "reports").results]
    assert statuses == ["completed", "failed", "completed"]


def test_a_link_in_place_of_the_next_trials_folder_costs_that_trial_alone(tmp_path: Path) -> None:
    run = Held(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    third = next(iter(_ids(run) - {folder.name for folder in run.folders()}))
    (run.folders()[0].parent / third).symlink_to(elsewhere)
    assert run.end()[0] == 1
    rows = only_report(tmp_path / "reports").results
    assert [row.status for row in rows] == ["completed", "completed", "failed"]
    assert "symbolic link" in (rows[2].reason or "")
    assert list(elsewhere.iterdir()) == []


def _ids(run: Held) -> set[str]:
    (path,) = run.folder.glob("reports/fake/2*")
    return set(open_run(path).plan.trial_ids)


@pytest.mark.parametrize("what", ["removed", "a file"])
def test_a_run_folder_that_vanishes_ends_the_run_with_74_and_says_so(tmp_path: Path, what: str) -> None:
    run = Held(tmp_path)
    (path,) = tmp_path.glob("reports/fake/2*")
    path.rename(tmp_path / "away")
    if what == "a file":
        path.touch()
    code, errors = run.end()
    assert code == 74, errors
    assert str(path) in errors


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run was killed between its first and its second result, to be copied."""
    run = Held(tmp_path_factory.mktemp("unfinished"))
    run._process.kill()
    run._process.communicate()
    wait_for_none_in(run.folder)
    return run.folder


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema_version": 2}', b'{"schema_version": 99}'])
def test_a_damaged_plan_of_an_unfinished_run_names_the_way_out(
    unfinished: Path, tmp_path: Path, damage: bytes
) -> None:
    shutil.copytree(unfinished, tmp_path, dirs_exist_ok=True)
    plan = next(tmp_path.glob("reports/*/*/plan.json"))
    plan.write_bytes(damage)
    for extra, code in (((), 2), (("--fresh",), 0)):
        line = run_line("fake.yaml", *extra, runner="second_held")
        done = forked(*line, cwd=tmp_path, environment=environ(FAKE_RELEASE=str(tmp_path)))
        assert done.returncode == code, done.stderr
        assert code == 0 or "--fresh" in done.stderr
    assert plan.read_bytes() == damage


@pytest.mark.parametrize("kind", ["a named pipe", "a sparse file"])
def test_a_plan_that_is_no_file_of_ours_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    run = Held(tmp_path)
    assert run.end()[0] == 0
    (path,) = tmp_path.glob("reports/fake/2*")
    (path / "report.json").unlink()
    plan = path / "plan.json"
    plan.unlink()
    if kind == "a named pipe":
        os.mkfifo(plan)
    else:
        plan.touch()
        os.truncate(plan, 40 * 2**30)
    done = forked(*run_line("fake.yaml"), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "--fresh" in done.stderr
