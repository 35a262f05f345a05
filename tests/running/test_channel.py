"""The pipe between a process and its child: both ends, with a child that is a few lines long."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from harness.running.workers.channel import Channel
from tests.running.fakes import REPOSITORY, environ

ECHO = """
import sys
from harness.running.workers.channel import ParentPipe
pipe = ParentPipe(int(sys.argv[2]))
print("started with", sys.argv[1], *sys.argv[4:], flush=True)
while (requests := pipe.take()) is not None:
    for request in requests:
        pipe.report(str(request["number"]))
"""


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "echo.py").write_text(ECHO)
    path = f"{tmp_path / 'code'}{os.pathsep}{REPOSITORY}"
    log = tmp_path / "log"
    return Channel("echo", "subject", "more", log=log, environ=environ(PYTHONPATH=path), longest=1_000)


def _read(channel: Channel, count: int) -> list[bytes]:
    found: list[bytes] = []
    deadline = time.monotonic() + 180
    while len(found) < count and time.monotonic() < deadline:
        lines = channel.lines(0.1)
        assert lines is not None
        found += lines
    return found


def test_every_request_is_answered_in_order_and_what_is_printed_is_in_the_log(channel: Channel) -> None:
    for number in range(5_000):
        channel.send({"number": number, "padding": "x" * 100})
    assert _read(channel, 5_000) == [b"%d" % number for number in range(5_000)]
    assert channel.stop(within_s=10.0) == "exit code 0"
    assert channel.last_words() == "started with subject more"
    assert channel.lines(0.0) is None


def test_a_child_that_is_stopped_is_killed_and_named_by_its_signal(channel: Channel) -> None:
    channel.send({"number": 1})
    assert _read(channel, 1) == [b"1"]
    os.kill(channel.pid, signal.SIGSTOP)
    began = time.monotonic()
    assert channel.stop(within_s=60.0) == "signal 9"
    assert time.monotonic() - began < 20
    channel.send({"number": 2})
    assert channel.stop(within_s=60.0) == "signal 9"


def test_a_child_that_was_given_up_is_read_no_more_and_the_problem_is_its_last_word(channel: Channel) -> None:
    channel.send({"number": 1})
    assert _read(channel, 1) == [b"1"]
    channel.give_up("it reported something else")
    assert channel.lines(10.0) is None
    assert channel.last_words() == "it reported something else"
    channel.stop(within_s=0.0)
