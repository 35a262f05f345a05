from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import LockedError, StorageError
from harness.store.locking import hold_lock, is_locked
from harness.store.suite_runs import create_run, find_unfinished, hold_suite
from tests.factories import STARTED
from tests.store.processes import Child
from tests.store.storing import PLAN

STARTS = 20


def start_twenty(work: Callable[[Callable[[str], None]], None]) -> list[tuple[int, list[str]]]:
    """Start them at once; the one that gets the lock tells so, and is ended when all others have."""
    gate, open_gate = os.pipe()

    def wait_and_work(tell: Callable[[str], None]) -> None:
        os.close(open_gate)
        os.read(gate, 1)
        work(tell)

    children = [Child(wait_and_work) for _ in range(STARTS)]
    os.close(gate)
    os.close(open_gate)
    first_lines = [child.wait_for_line() for child in children]
    for child, line in zip(children, first_lines, strict=True):
        if line == "held":
            child.kill()
    return [child.wait() for child in children]


def hold_for_ever(tell: Callable[[str], None]) -> None:
    tell("held")
    while True:
        os.read(os.pipe()[0], 1)


def assert_one_holds(ended: list[tuple[int, list[str]]]) -> None:
    assert sorted(code for code, _ in ended) == [-9] + [LockedError.exit_code] * (STARTS - 1)
    for code, lines in ended:
        if code == 75:
            assert socket.gethostname() in lines[0]
            assert "is locked by process " in lines[0]


def test_of_twenty_starts_on_one_directory_one_runs_and_nineteen_are_told_by_whom_it_is_held(
    tmp_path: Path,
) -> None:
    run = create_run(tmp_path, "padding", PLAN, b"", now=STARTED)

    def work(tell: Callable[[str], None]) -> None:
        with run.hold():
            hold_for_ever(tell)

    assert_one_holds(start_twenty(work))


def test_of_twenty_first_starts_of_a_suite_one_creates_the_run_and_nineteen_find_it_held(
    tmp_path: Path,
) -> None:
    def work(tell: Callable[[str], None]) -> None:
        with hold_suite(tmp_path, "padding"):
            run = find_unfinished(tmp_path, "padding", PLAN)
            if run is None:
                run = create_run(tmp_path, "padding", PLAN, b"", now=STARTED)
            held = run.hold()
            held.__enter__()  # held until killed, longer than the suite
        hold_for_ever(tell)

    assert_one_holds(start_twenty(work))
    assert len([path for path in (tmp_path / "padding").iterdir() if path.is_dir()]) == 1


def test_the_holder_is_named_by_process_and_host(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "lock"), pytest.raises(LockedError) as caught, hold_lock(tmp_path / "lock"):
        pass
    assert f"{tmp_path} is locked by process {os.getpid()} on {socket.gethostname()}" == caught.value.message
    assert "--wait" in str(caught.value.hint)


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    def work(tell: Callable[[str], None]) -> None:
        with hold_lock(tmp_path / "lock"):
            hold_for_ever(tell)

    child = Child(work)
    assert child.wait_for_line() == "held"
    with pytest.raises(LockedError), hold_lock(tmp_path / "lock"):
        pass
    child.kill()
    child.wait()
    with hold_lock(tmp_path / "lock"):
        pass


def test_a_holder_that_is_dead_is_not_blamed(tmp_path: Path) -> None:
    def work(tell: Callable[[str], None]) -> None:
        with hold_lock(tmp_path / "lock"):
            (tmp_path / "lock").write_text(f"process {2**22 + 1} on {socket.gethostname()}\n")
            hold_for_ever(tell)

    child = Child(work)
    assert child.wait_for_line() == "held"
    with pytest.raises(LockedError, match="locked by another process"), hold_lock(tmp_path / "lock"):
        pass
    child.kill()
    child.wait()


def test_waiting_starts_when_the_holder_has_gone(tmp_path: Path) -> None:
    def work(tell: Callable[[str], None]) -> None:
        tell("waiting")
        with hold_lock(tmp_path / "lock", wait=True):
            tell("held")

    with hold_lock(tmp_path / "lock"):
        child = Child(work)
        assert child.wait_for_line() == "waiting"
    assert child.wait() == (0, ["waiting", "held"])


def test_a_program_started_by_the_holder_does_not_hold(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "lock"):
        started = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    with hold_lock(tmp_path / "lock"):
        assert started.poll() is None
    started.communicate(b"\n")


def test_a_lock_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="cannot open the lock"), hold_lock(tmp_path / "lock"):
        pass
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_a_file_system_without_locks_is_an_error_that_names_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / "lock").touch()
    monkeypatch.setattr(fcntl, "flock", refuse)
    told = re.escape(f"cannot lock {tmp_path / 'lock'}: {os.strerror(errno.ENOLCK)}")
    with pytest.raises(StorageError, match=told), hold_lock(tmp_path / "lock"):
        pass
    with pytest.raises(StorageError, match=told):
        is_locked(tmp_path / "lock")


def test_a_process_of_another_user_that_has_locked_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_process: int, _number: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with hold_lock(tmp_path / "lock"):
        monkeypatch.setattr(os, "kill", refuse)
        told = f"locked by process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(LockedError, match=told), hold_lock(tmp_path / "lock"):
            pass


def test_a_disk_without_space_for_the_holder_s_name_leaves_nothing_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _data: bytes, _offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", refuse)
        with (
            pytest.raises(StorageError, match=r"cannot write .*lock: No space left"),
            hold_lock(tmp_path / "lock"),
        ):
            pass
    assert not is_locked(tmp_path / "lock")
    with hold_lock(tmp_path / "lock"):
        assert is_locked(tmp_path / "lock")
