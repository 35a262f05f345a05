"""A fork server that is stopped, hangs or reports nonsense: every limit applies, and the run goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harness.api import RunOptions, run_suite
from harness.model.results import TrialResult
from harness.model.seeds import number_of
from harness.model.suite import Measure
from harness.running.seams import Seams
from harness.running.workers.channel import LineReader, LineWriter, ProtocolError
from harness.running.workers.local import LocalExecutor
from tests.running import stopping_runner as seeds
from tests.running.fakes import fake_suite, fork_run, start, wait_for_none_in, write_suite

RUNNER = "tests.running.stopping_runner:run"
pytestmark = pytest.mark.timeout(120)


def _run(reports: Path, *seeds: int) -> dict[int, TrialResult]:
    """Run trials with these seeds, one after another, with tight limits; each one's row."""
    options = RunOptions(assets="embedded", reports=reports, parity=False, runner=RUNNER, grace_s=0.3)
    seams = Seams(executor=lambda setup, grace_s: LocalExecutor(setup, grace_s=grace_s, server_s=1.0))
    suite = fake_suite(seeds, measure=Measure(stall_timeout_seconds=2.0))
    return {
        number_of(result.trial.seed, "init"): result
        for result in run_suite(suite, options, seams=seams).report.results
    }


@pytest.mark.parametrize(
    ("seed", "status", "words"),
    [
        (seeds.STOPS, "timeout", ["stall_timeout_seconds", "its fork server did not respond and was killed"]),
        (seeds.STOPS_AND_COMPLETES, "completed", []),
        (seeds.HANGS, "timeout", ["stall_timeout_seconds", "its fork server did not respond and was killed"]),
        (seeds.LIES, "killed", ["its fork server ended", "it reported something other than an event"]),
        (seeds.FLOODS, "killed", ["its fork server ended", "it wrote a line of more than"]),
        (seeds.ENDS, "killed", ["its fork server ended (exit code 7)"]),
    ],
)
def test_its_trial_ends_with_a_reason_and_the_next_one_gets_a_new_server(
    tmp_path: Path, seed: int, status: str, words: list[str]
) -> None:
    rows = _run(tmp_path, 0, seed, 1)
    assert [rows[0].status, rows[seed].status, rows[1].status] == ["completed", status, "completed"]
    assert all(word in (rows[seed].reason or "") for word in words), rows[seed].reason
    assert wait_for_none_in(tmp_path) == []


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _servers(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            if "harness.running.workers.fork_server" in line and Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def test_an_interrupt_ends_a_run_whose_server_is_stopped_within_the_grace(tmp_path: Path) -> None:
    process = start(write_suite(tmp_path), "--grace", "60", cwd=tmp_path, runner="mute")
    _wait(lambda: bool(list(tmp_path.glob("reports/*/*/trials/*/progress.jsonl"))))
    for server in _servers(tmp_path):
        if server.pid != process.pid:
            server.suspend()
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 130, errors
    assert time.monotonic() - began < 30
    assert list(tmp_path.glob("reports/*/*/report.json"))
    assert wait_for_none_in(tmp_path) == []


def test_a_stopped_server_ends_with_its_parent(tmp_path: Path) -> None:
    parent = fork_run(fake_suite(), tmp_path, "mute")
    _wait(lambda: bool(list(tmp_path.glob("*/*/trials/*/progress.jsonl"))))
    for server in _servers(tmp_path):
        server.suspend()
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert wait_for_none_in(tmp_path) == []


def test_a_process_that_does_not_read_blocks_nobody_and_gets_all_in_order_later() -> None:
    read, write = os.pipe()
    writer = LineWriter(write)
    for number in range(20_000):
        writer.send({"signal": number, "number": 15})
    reader = LineReader(read, longest=100)
    found: list[bytes] = []
    while len(found) < 20_000:
        writer.flush()
        found += reader.lines(0.0) or ()
    assert found[0] == b'{"signal": 0, "number": 15}'
    assert found[-1] == b'{"signal": 19999, "number": 15}'
    os.close(read)
    writer.send({"after": "its end"})
    os.close(write)


def test_a_line_without_an_end_is_refused_and_the_end_is_told() -> None:
    read, write = os.pipe()
    reader = LineReader(read, longest=100)
    os.write(write, b"half")
    assert reader.lines(0.0) == []
    os.write(write, b" a line\n")
    assert reader.lines(0.0) == [b"half a line"]
    os.write(write, b"x" * 101)
    with pytest.raises(ProtocolError, match="more than 100 bytes"):
        reader.lines(0.0)
    os.close(write)
    assert reader.lines(0.0) is None
    os.close(read)
