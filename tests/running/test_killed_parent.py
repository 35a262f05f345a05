"""The parent killed at random moments: nothing finished is lost or run twice, nothing is left behind.

HARNESS_TEST_KILLS sets how many kills the first test makes; a hundred take about a minute and a half.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.api import RunOptions, run_suite
from harness.store.run_directory import RunDirectory
from harness.store.suite_runs import find_latest
from harness.store.writing import TEMPORARY_NAME
from tests.running.fakes import fake_suite, fork_run, processes_in, run_fake, wait_for_none_in

KILLS = int(os.environ.get("HARNESS_TEST_KILLS", "12"))
SUITE = fake_suite(range(40))


def _ends(pid: int, seconds: float) -> bool:
    """Whether the process ends by itself within that time; if not, it is killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return True
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def _kills(folder: Path, runner: str, kills: int, rng: random.Random) -> Iterator[RunDirectory]:
    """Start, kill, and yield the run directory, so many times; after a finished run comes a new one."""
    for _ in range(kills):
        _ends(fork_run(SUITE, folder, runner), rng.uniform(0.2, 1.5))
        assert wait_for_none_in(folder) == []
        if (run := find_latest(folder, SUITE.name)) is not None:
            yield run


def test_no_finished_trial_is_lost_or_run_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "record"
    monkeypatch.setenv("FAKE_RECORD", str(record))
    done: dict[Path, dict[str, bytes]] = {}
    seen_lines = 0
    for run in _kills(tmp_path / "reports", "recorded", KILLS, random.Random(1)):
        found, problems = run.results()
        assert problems == []
        before = done.get(run.path, {})
        lines = record.read_text().splitlines() if record.exists() else []
        if run.path in done:
            assert not before.keys() & set(lines[seen_lines:]), "a finished trial was run again"
        seen_lines = len(lines)
        now = {id_: (run.path / "trials" / id_ / "result.json").read_bytes() for id_ in found}
        assert before.items() <= now.items(), "a finished result was lost or changed"
        done[run.path] = now
    assert done
    last = run_fake(SUITE, tmp_path / "reports", "recorded")
    assert {result.status for result in last.report.results} == {"completed"}
    assert [path for path in last.directory.rglob(".*") if TEMPORARY_NAME.fullmatch(path.name)] == []


def test_the_same_test_finds_a_writer_that_does_not_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_RECORD", str(tmp_path / "record"))
    runs = _kills(tmp_path / "reports", "torn", 40, random.Random(2))
    assert any(run.results()[1] for run in runs)


def test_a_killed_parent_leaves_no_process_within_five_seconds(tmp_path: Path) -> None:
    pid = fork_run(fake_suite([106, 107]), tmp_path, "hostile")
    while len(processes_in(tmp_path)) < 2:
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert wait_for_none_in(tmp_path) == []


def test_a_parent_killed_while_its_server_imports_leaves_no_process(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            options = RunOptions("embedded", tmp_path, runner="tests.running.hanging_import:run")
            run_suite(fake_suite([0]), options)
        finally:
            os._exit(0)
    while not processes_in(tmp_path):
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert wait_for_none_in(tmp_path) == []


def test_a_server_that_hangs_while_it_loads_beforehand_dies_with_the_run(tmp_path: Path) -> None:
    pid = fork_run(fake_suite([9]), tmp_path, "tests.running.warm_runner:run")
    while not list(tmp_path.glob("fake/*/trials/*/job.json")):
        time.sleep(0.02)
    time.sleep(1.0)  # by then the server has started and hangs; if it has not, it dies as one that starts
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert wait_for_none_in(tmp_path) == []


def test_a_killed_server_is_a_killed_trial_and_the_next_has_a_new_one(tmp_path: Path) -> None:
    pid = fork_run(fake_suite([106, 107]), tmp_path, "hostile")
    while len(processes_in(tmp_path)) < 2:
        time.sleep(0.02)
    (server,) = psutil.Process(pid).children()
    server.kill()
    os.waitpid(pid, 0)
    run = find_latest(tmp_path, "fake")
    assert run is not None
    found, _ = run.results()
    killed, completed = found.values()
    assert (killed.status, completed.status) == ("killed", "completed")
    assert "signal 9" in (killed.reason or "")
