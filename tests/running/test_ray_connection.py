"""The connection to Ray, with a stand-in for `ray`: a process that stops responding is not waited for."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from harness.errors import UnavailableError
from harness.running.ray.ray_nodes import RayConnection
from tests.running.fakes import REPOSITORY, environ

pytestmark = pytest.mark.timeout(60)

FAKE = {
    "__init__.py": """
import os, time
from ray.exceptions import RayTaskError
def init(*arguments, **options):
    if "FAKE_HANGS" in os.environ:
        time.sleep(600)
def kill(actor):
    pass
class _Task:
    def options(self, **options):
        return self
    def remote(self, *arguments):
        return _Task()
    def __getattr__(self, name):
        return _Task()
def remote(actor=None, **options):
    return (lambda function: _Task()) if actor is None else _Task()
def nodes():
    return [{"Alive": True, "NodeID": "1", "NodeName": "one", "Resources": {"CPU": 2.0}}]
def wait(asked, **options):
    time.sleep(0.1)
    return [], asked
def get(answer, timeout=None):
    return ("a processor", None)
def cancel(stream, force=False):
    pass
def shutdown():
    pass
""",
    "exceptions.py": """
class RayError(Exception): ...
class OutOfMemoryError(RayError): ...
class RayTaskError(RayError): ...
""",
    "util/__init__.py": "",
    "util/placement_group.py": "placement_group = remove_placement_group = None\n",
    "util/scheduling_strategies.py": """
class NodeAffinitySchedulingStrategy:
    def __init__(self, *arguments): ...
class PlacementGroupSchedulingStrategy: ...
""",
}


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    for name, text in FAKE.items():
        file = tmp_path / "ray" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return environ(PYTHONPATH=f"{tmp_path}{os.pathsep}{REPOSITORY}")


def _driver(connection: RayConnection) -> psutil.Process:
    return psutil.Process(connection._channel.pid)


def test_a_driver_that_responds_is_not_given_up_while_nothing_happens(surroundings: dict[str, str]) -> None:
    connection = RayConnection("h:1", environ=surroundings, silent_s=4.0)
    assert [node.name for node in connection.nodes] == ["one"]
    connection.send({"submit": 1, "cpus": 1, "gpus": 0, "ranks": 1, "name": "x", "request": "{}"})
    began = time.monotonic()
    while time.monotonic() - began < 6.0:
        assert connection.heard(0.5) == []
    connection.close()


def test_a_driver_that_was_stopped_is_given_up_and_killed(surroundings: dict[str, str]) -> None:
    connection = RayConnection("h:1", environ=surroundings, silent_s=3.0)
    driver = _driver(connection)
    driver.suspend()
    # More than a pipe takes: sending blocks nobody.
    for number in range(5_000):
        connection.send({"cancel": number, "why": "x" * 100})
    began = time.monotonic()
    while connection.heard(0.2) is not None:
        assert time.monotonic() - began < 30
    assert connection.last_words() == "the process that speaks to Ray did not respond for 3 s"
    connection.close()
    assert not driver.is_running()


def test_a_stopped_driver_is_closed_at_once(surroundings: dict[str, str]) -> None:
    connection = RayConnection("h:1", environ=surroundings)
    driver = _driver(connection)
    os.kill(driver.pid, signal.SIGSTOP)
    began = time.monotonic()
    connection.close()
    assert time.monotonic() - began < 4.0
    assert not driver.is_running()


def test_a_driver_that_hangs_while_it_connects_is_left_after_its_time(surroundings: dict[str, str]) -> None:
    with pytest.raises(UnavailableError, match="did not answer within 2 s"):
        RayConnection("h:1", environ=surroundings | {"FAKE_HANGS": "1"}, limit_s=2.0)
