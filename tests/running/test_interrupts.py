"""Ctrl-C and SIGTERM in every phase, once and twice, on a pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from harness.store.plan_file import make_plan
from harness.store.reading import load_report
from harness.store.suite_runs import create_run
from harness.suite.matrix import expand
from harness.suite.suite_file import read_suite
from tests.running.fakes import command, environ, processes_in, wait_for_none_in, write_suite

SEEDS = [106, 107, 109]


class OnTerminal:
    """`harness run` with its standard error on a pseudo-terminal, which it leads as a shell would have it."""

    def __init__(self, folder: Path, runner: str, *arguments: str, ignored: str = "", **changes: str) -> None:
        self.folder = folder
        self.reports = folder / "reports"
        ours, theirs = pty.openpty()
        self._terminal = ours
        line = command(write_suite(folder, SEEDS), *arguments, runner=runner)
        if ignored:
            line = ["sh", "-c", f"trap '' {ignored}; exec \"$@\"", "sh", *line]
        self._process = subprocess.Popen(
            line,
            cwd=folder,
            env=environ(TERM="xterm", **changes),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        os.set_blocking(ours, False)
        self.shown = ""

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 180
        while not condition():
            assert self._process.poll() is None, self.read()
            assert time.monotonic() < deadline, self.read()
            self.read()
            time.sleep(0.02)

    def read(self) -> str:
        with contextlib.suppress(OSError):
            self.shown += os.read(self._terminal, 2**16).decode("utf-8", "replace")
        return self.shown

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        # One that has just ended is still there to be signalled until it is waited for.
        os.kill(self.pid, number)

    def end(self, seconds: float = 12.0) -> int:
        deadline = time.monotonic() + seconds
        while self._process.poll() is None:
            assert time.monotonic() < deadline, "did not end in time"
            self.read()
            time.sleep(0.02)
        self.read()
        assert self._process.stdout is not None
        self._process.stdout.close()
        os.close(self._terminal)
        return self._process.returncode

    def training(self) -> bool:
        return any(file.read_bytes() for file in self.reports.glob("*/*/trials/*/progress.jsonl"))

    def whole(self) -> bool:
        """Whether every report that is there can be read."""
        for path in self.reports.glob("*/*/report.json"):
            load_report(path)
        return True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_while_training_leaves_a_report_and_says_how_to_go_on(
    tmp_path: Path, number: int, code: int
) -> None:
    run = OnTerminal(tmp_path, "hostile")
    run.wait_for(run.training)
    run.signal(number)
    assert run.end() == code
    (path,) = run.reports.glob("*/*/report.json")
    statuses = [result.status for result in load_report(path).results]
    assert statuses == ["interrupted", "pending", "pending"]
    assert "run the same command again" in run.shown
    assert wait_for_none_in(tmp_path) == []


@pytest.mark.parametrize("option", ["--fresh", "--rerun=all"])
def test_an_interrupted_run_is_resumed_without_the_option_that_begins_another(
    tmp_path: Path, option: str
) -> None:
    run = OnTerminal(tmp_path, "hostile", option)
    run.wait_for(run.training)
    run.signal(signal.SIGINT)
    assert run.end() == 130
    shown = " ".join(run.shown.split())
    assert f"run the same command without {option.replace('=', ' ')} to go on where it stopped" in shown
    assert ("keep their earlier results" in shown) == (option != "--fresh")
    again = OnTerminal(tmp_path, "good")
    assert again.end(seconds=60.0) == 0
    (path,) = run.reports.glob("*/*/report.json")
    assert all(result.status == "completed" for result in load_report(path).results)


def test_an_interrupt_reaches_a_worker_that_ignores_sigterm_by_force(tmp_path: Path) -> None:
    write_suite(tmp_path)
    run = OnTerminal(tmp_path, "deaf", "--grace", "0.5")
    run.wait_for(run.training)
    run.signal(signal.SIGINT)
    assert run.end() == 130
    assert wait_for_none_in(tmp_path) == []


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    run = OnTerminal(tmp_path, "deaf")
    run.wait_for(run.training)
    run.signal(signal.SIGINT)
    time.sleep(0.3)
    run.signal(signal.SIGINT)
    assert run.end(seconds=6.0) == 130
    assert run.whole()
    assert wait_for_none_in(tmp_path) == []


def test_a_signal_that_was_ignored_at_the_start_stays_ignored(tmp_path: Path) -> None:
    """`nohup` and background jobs ignore Ctrl-C or a closed terminal; SIGTERM still ends the run in order."""
    run = OnTerminal(tmp_path, "hostile", ignored="INT HUP")
    run.wait_for(run.training)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        run.signal(number)
    assert run.end() == 143
    (path,) = run.reports.glob("*/*/report.json")
    assert [result.status for result in load_report(path).results] == ["interrupted", "pending", "pending"]
    assert wait_for_none_in(tmp_path) == []


def _importing(folder: Path) -> tuple[OnTerminal, Callable[[], bool]]:
    """A run whose fork server never ends its imports."""
    (folder / "slow_import.py").write_text("import time\ntime.sleep(600)\n")
    run = OnTerminal(folder, "unused", "--runner", "slow_import:run", PYTHONPATH=_with(folder))
    return run, lambda: bool(list(run.reports.glob("*/*/server.log"))) and len(processes_in(folder)) > 1


def _proving(folder: Path) -> tuple[OnTerminal, Callable[[], bool]]:
    """A run whose first proof never ends, whatever it is told."""
    run = OnTerminal(folder, "deaf", "--parity", "--grace", "0.5")
    return run, lambda: any(file.read_bytes() for file in run.reports.glob("*/*/proofs/*/progress.jsonl"))


def _looking_for_assets(folder: Path) -> tuple[OnTerminal, Callable[[], bool]]:
    """A run that has asked a Hub which never answers."""
    hub = socket.create_server(("127.0.0.1", 0))
    hub.settimeout(0)
    asked: list[socket.socket] = []

    def is_asked() -> bool:
        with contextlib.suppress(BlockingIOError):
            asked.append(hub.accept()[0])
        return bool(asked)

    endpoint = f"http://127.0.0.1:{hub.getsockname()[1]}"
    surroundings = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder / "hf")}
    return OnTerminal(folder, "good", "--assets", "hub", **surroundings), is_asked


def _waiting_for_the_lock(folder: Path) -> tuple[OnTerminal, Callable[[], bool]]:
    """A run that waits for another process to let go of its directory."""
    suite = read_suite(write_suite(folder, SEEDS))
    plan = make_plan(suite, expand(suite, ("cpu",)), "embedded")
    held = create_run(folder / "reports", "fake", plan, b"", now=datetime.now(UTC))
    lock = (held.path / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    lock.flush()
    run = OnTerminal(folder, "good", "--wait")
    return run, lambda: _has_open(run.pid, held.path / "lock") and not lock.closed


def _has_open(pid: int, path: Path) -> bool:
    try:
        opened = {Path(file.path) for file in psutil.Process(pid).open_files()}
    except psutil.Error:
        return False
    # It is opened only to be locked, in the next moment.
    time.sleep(0.2)
    return path in opened


PHASES = [_importing, _proving, _looking_for_assets, _waiting_for_the_lock]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__.strip("_"))
def test_an_interrupt_in_any_phase_ends_the_run_in_time(
    tmp_path: Path, phase: Callable[[Path], tuple[OnTerminal, Callable[[], bool]]], times: int
) -> None:
    run, there = phase(tmp_path)
    run.wait_for(there)
    for _ in range(times):
        run.signal(signal.SIGINT)
        time.sleep(0.1)
    assert run.end() == 130
    assert "Traceback" not in run.shown
    assert run.whole()
    assert wait_for_none_in(tmp_path) == []


def test_an_interrupt_before_the_run_directory_is_there(tmp_path: Path) -> None:
    # Coverage, where it measures, is imported before the program begins, and swallows an interrupt then.
    run = OnTerminal(tmp_path, "good", "--wait", COVERAGE_PROCESS_START="", COVERAGE_PROCESS_CONFIG="")
    # As early as the interpreter allows: whatever the program is doing then, there is no traceback.
    time.sleep(0.25)
    run.signal(signal.SIGINT)
    code = run.end()
    # Until it begins the program, the interpreter tells of an interrupt itself, by a traceback of its own.
    assert code in (130, -signal.SIGINT) or (code == 1 and "KeyboardInterrupt" in run.shown)
    assert "Traceback" not in run.shown or "__main__.py" not in run.shown
    assert wait_for_none_in(tmp_path) == []


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03])
def test_an_interrupt_while_the_report_is_written_never_tears_it(
    tmp_path: Path, delay: float, times: int
) -> None:
    run = OnTerminal(tmp_path, "good")
    run.wait_for(lambda: len(list(run.reports.glob("*/*/trials/*/result.json"))) == len(SEEDS))
    time.sleep(delay)
    for _ in range(times):
        run.signal(signal.SIGINT)
        time.sleep(0.005)
    assert run.end() in (0, 130)
    assert run.whole()


def _with(folder: Path) -> str:
    return f"{environ()['PYTHONPATH']}{os.pathsep}{folder}"
