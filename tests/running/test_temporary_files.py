"""Temporary files of workers: removed when a worker ends, whatever ends it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.running.fakes import start, wait_for_none_in, write_suite

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


def _left(temporary: Path) -> list[str]:
    return sorted(str(file.relative_to(temporary)) for file in temporary.rglob("*"))


def _wait_for_one_worker(temporary: Path) -> None:
    deadline = time.monotonic() + 180
    while not list(temporary.glob("harness-*/*/*/file")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_nothing_is_left_of_workers_that_complete_and_of_those_that_are_killed(
    tmp_path: Path, temporary: Path
) -> None:
    run = start(
        write_suite(tmp_path, [0, 1]), "--trial-timeout", "60",
        cwd=tmp_path, runner="littering", TMPDIR=str(temporary),
    )  # fmt: skip
    _, errors = run.communicate(timeout=240)
    assert run.returncode == 1, errors
    assert _left(temporary) == []


def test_nothing_is_left_of_a_worker_beyond_its_limit_or_of_an_interrupted_run(
    tmp_path: Path, temporary: Path
) -> None:
    for arguments, number, code in ((("--trial-timeout", "3"), None, 1), ((), signal.SIGINT, 130)):
        run = start(
            write_suite(tmp_path, [2]), "--fresh", "--grace", "0.5", *arguments,
            cwd=tmp_path, runner="littering", TMPDIR=str(temporary),
        )  # fmt: skip
        _wait_for_one_worker(temporary)
        if number is not None:
            run.send_signal(number)
        _, errors = run.communicate(timeout=240)
        assert run.returncode == code, errors
        assert _left(temporary) == []


def test_nothing_is_left_when_the_run_itself_is_killed(tmp_path: Path, temporary: Path) -> None:
    run = start(write_suite(tmp_path, [2]), cwd=tmp_path, runner="littering", TMPDIR=str(temporary))
    _wait_for_one_worker(temporary)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=240)
    assert wait_for_none_in(tmp_path) == []
    assert _left(temporary) == []
