"""Programs that are started: none from the current directory, each ends in time, none leaves a child."""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import harness
from harness.programs import ProgramError, child_environment, find_program, kill_tree, run_program

# Each file that starts a process, or uses a part of the standard library that does, with what it uses.
STARTERS = {
    "running/workers/fork_server.py": {"harness.running.workers.forking.fork_worker"},
    "running/workers/forking.py": {"os.fork"},
    "running/workers/rank_processes.py": {"os.fork"},
    "running/workers/channel.py": {"subprocess"},
    "programs.py": {"subprocess"},
    "store/results_process.py": {"subprocess"},
    "training/measuring/counters.py": {"subprocess"},
    # It counts the processes that torch's data loader has started, and starts none.
    "training/proofs/watching.py": {"multiprocessing"},
    # The user's own metric, by its path, in the scorer's process.
    "training/processes/own_metrics.py": {"compile", "exec"},
}
MODULES = {"subprocess", "multiprocessing", "concurrent.futures", "pty", "pexpect", "webbrowser", "pydoc"}
MODULES |= {"asyncio", "ctypes.util", "distutils", "setuptools", "runpy", "code"}
CALLS = tuple(
    f"os.{name}" for name in ("system", "popen", "exec", "spawn", "posix_spawn", "fork", "startfile")
)
CALLS += ("platform.processor", "platform.uname", "platform.platform", "platform.architecture")
CALLS += ("platform.libc_ver", "psutil.Popen", "harness.running.workers.forking.fork_worker")
BUILT_IN = ("exec", "eval", "compile", "__import__")


def _used(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                if node.module in MODULES:
                    yield str(node.module)
                elif whole in MODULES or whole.startswith(CALLS):
                    yield whole
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            whole = f"{node.value.id}.{node.attr}"
            if whole.startswith(CALLS):
                yield whole
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILT_IN:
            yield node.func.id


def test_every_file_that_starts_a_process_is_known() -> None:
    package = Path(harness.__file__).parent
    found = {
        path.relative_to(package).as_posix(): used
        for path in package.rglob("*.py")
        if (used := set(_used(path.read_text(encoding="utf-8"))))
    }
    assert found == STARTERS, "a new way to start a process: test it against a hostile current directory"


def test_the_search_finds_what_it_looks_for() -> None:
    sources = {
        "import subprocess": "subprocess",
        "from subprocess import run": "subprocess",
        "from concurrent.futures import ProcessPoolExecutor": "concurrent.futures",
        "from os import execv": "os.execv",
        "import os\nos.execvp('a', [])": "os.execvp",
        "import platform\nplatform.processor()": "platform.processor",
        "eval('1')": "eval",
    }
    for source, name in sources.items():
        assert name in set(_used(source)), source


def test_relative_entries_of_search_paths_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"PATH": ".:/bin::bin:/usr/bin:", "LD_LIBRARY_PATH": ":.", "PYTHONPATH": ":/a:src:", "LANG": "C"}
    assert child_environment(given) == {
        "PATH": "/bin:/usr/bin",
        "PYTHONPATH": f"/a:{tmp_path / 'src'}",
        "LANG": "C",
    }


def test_variables_that_change_how_python_runs_code_are_left_out() -> None:
    given = dict.fromkeys(
        ("PYTHONOPTIMIZE", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONTRACEMALLOC", "PYTHONDONTWRITEBYTECODE"),
        "1",
    )
    assert child_environment(given | {"PYTHONHASHSEED": "1"}) == {"PYTHONHASHSEED": "1"}


def test_a_program_is_never_found_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "planted-program"
    planted.write_text("#!/bin/sh\n")
    planted.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert find_program("planted-program", {"PATH": ".::planted"}) is None
    assert find_program("planted-program", {"PATH": str(tmp_path)}) == str(planted)


def _runs(pid: int) -> bool:
    """Whether the process is there, and no zombie that nobody has waited for."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _python(code: str) -> list[str]:
    return [sys.executable, "-I", "-c", code]


def test_a_program_gets_its_input_and_gives_both_streams_and_its_code(tmp_path: Path) -> None:
    code = "import os, sys; sys.stderr.write(os.getcwd()); sys.stdout.write(sys.stdin.read()); sys.exit(3)"
    given = bytes(range(65, 91)) * 50_000
    done = run_program(_python(code), timeout_s=60, given=given, cwd=tmp_path)
    assert (done.code, done.stdout, done.stderr) == (3, given, os.fsencode(tmp_path))


def test_a_program_that_takes_too_long_is_killed_with_what_it_started(tmp_path: Path) -> None:
    # The child leaves the session, as a daemon does.
    code = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n"
        "    open('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)"
    )
    with pytest.raises(ProgramError, match=r"took longer than 1\.5 s"):
        run_program(_python(code), timeout_s=1.5, cwd=tmp_path)
    assert not _runs(int((tmp_path / "pid").read_text()))


def test_a_child_that_keeps_the_output_open_is_not_waited_for() -> None:
    code = "import os, time\nif os.fork() == 0:\n    time.sleep(600)\nprint('done', flush=True)"
    began = time.monotonic()
    assert run_program(_python(code), timeout_s=60).stdout == b"done\n"
    assert time.monotonic() - began < 30


def test_a_flood_ends_the_program() -> None:
    with pytest.raises(ProgramError, match="printed more than 1,000 bytes"):
        run_program(_python("while True: print('x' * 1000)"), timeout_s=60, limit=1_000)


def test_a_tree_is_killed_even_if_its_root_is_stopped(tmp_path: Path) -> None:
    code = (
        "import os, time\nos.setsid()\nos.fork()\nos.fork()\nprint(os.getpid(), flush=True)\ntime.sleep(600)"
    )
    read, write = os.pipe()
    root = os.fork()
    if root == 0:
        os.dup2(write, 1)
        os.execv(sys.executable, _python(code))
    os.close(write)
    with os.fdopen(read) as lines:
        pids = [int(next(lines)) for _ in range(4)]
        kill_tree(root)
        # At its end no process has the pipe open any more.
        assert lines.read() == ""
    os.waitpid(root, 0)
    assert root in pids
