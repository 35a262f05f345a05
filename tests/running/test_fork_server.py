"""The fork server's rounds: what one event of a round has ended, the next does not touch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.running.workers.channel import ParentPipe
from harness.running.workers.fork_server import ForkServer
from tests.running.runners import good


@pytest.fixture
def pipes() -> Iterator[list[tuple[int, int]]]:
    made = [os.pipe(), os.pipe()]
    yield made
    for descriptor in (end for pipe in made for end in pipe):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_a_pipe_closed_by_an_event_of_the_same_round_is_not_read(pipes: list[tuple[int, int]]) -> None:
    server = ForkServer(good, ParentPipe(pipes[0][1]), temporary=Path())
    heard: list[int] = []

    def reap(own: int, other: int) -> None:
        heard.append(own)
        server._selector.unregister(other)
        os.close(other)

    (one, write_one), (other, write_other) = pipes
    server._watch(one, lambda: reap(one, other))
    server._watch(other, lambda: reap(other, one))
    os.write(write_one, b"x")
    os.write(write_other, b"x")
    server._attend()
    assert len(heard) == 1


def test_a_pipe_that_took_its_number_in_the_same_round_is_not_read_for_it(
    pipes: list[tuple[int, int]],
) -> None:
    server = ForkServer(good, ParentPipe(pipes[0][1]), temporary=Path())
    heard: list[str] = []

    def replace(own: int, other: int) -> None:
        heard.append("worker reaped")
        server._selector.unregister(other)
        os.dup2(own, other)
        server._watch(other, lambda: heard.append("read too early"))

    (one, write_one), (other, write_other) = pipes
    server._watch(one, lambda: replace(one, other))
    server._watch(other, lambda: replace(other, one))
    os.write(write_one, b"x")
    os.write(write_other, b"x")
    server._attend()
    assert heard == ["worker reaped"]
