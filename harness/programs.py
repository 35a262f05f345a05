"""Run another program without executing code from the current directory, with limits on time and output.

The current directory may be an untrusted checkout. A child process gets no relative entries in PATH and no
variables that change how Python runs code. It runs in a new session, whose processes are killed when it ends.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import psutil

OUTPUT_BYTES: Final = 2**26
_READ_BYTES: Final = 2**18
_LOOK_SECONDS: Final = 0.1
_KILL_ROUNDS: Final = 5
_KILL_SECONDS: Final = 10.0

# Search paths of executables and shared libraries. Empty or relative entries depend on the current directory.
_SEARCH_PATHS: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
# Interpreter variables that locate modules. Others change results or speed (PYTHONOPTIMIZE, PYTHONMALLOC,
# PYTHONTRACEMALLOC), or run code (PYTHONSTARTUP, PYTHONWARNINGS).
_KEPT_PYTHON: Final = frozenset(
    {
        "PYTHONEXECUTABLE",
        "PYTHONHASHSEED",
        "PYTHONHOME",
        "PYTHONNOUSERSITE",
        "PYTHONPATH",
        "PYTHONPLATLIBDIR",
        "PYTHONPYCACHEPREFIX",
        "PYTHONSAFEPATH",
        "PYTHONUSERBASE",
        # Used by the keyring library of pip, not by the interpreter.
        "PYTHON_KEYRING_BACKEND",
    }
)


class ProgramError(OSError):
    """A program exceeded its time or output limit and was killed."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The exit code of a program (negative for a signal) and its output."""

    code: int
    stdout: bytes
    stderr: bytes


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a child, with absolute search paths only.

    Variables that change how Python runs code are left out: see `_KEPT_PYTHON`.

    Relative entries of PYTHONPATH are made absolute, since a child may run in another directory; empty
    ones are left out.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith("PYTHON") or name in _KEPT_PYTHON
    }
    for name in _SEARCH_PATHS:
        if name in kept:
            _set(kept, name, [entry for entry in kept[name].split(os.pathsep) if os.path.isabs(entry)])  # noqa: PTH117
    if "PYTHONPATH" in kept:
        with contextlib.suppress(FileNotFoundError):
            entries = [os.path.abspath(entry) for entry in kept["PYTHONPATH"].split(os.pathsep) if entry]  # noqa: PTH100
            _set(kept, "PYTHONPATH", entries)
    return kept


def _set(environ: dict[str, str], name: str, entries: Sequence[str]) -> None:
    if entries:
        environ[name] = os.pathsep.join(entries)
    else:
        del environ[name]


def find_program(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the absolute path of an executable on PATH, searching absolute entries only."""
    path = child_environment(os.environ if environ is None else environ).get("PATH", os.defpath)
    return shutil.which(name, path=path)


def run_program(
    command: Sequence[str],
    *,
    timeout_s: float,
    environ: Mapping[str, str] | None = None,
    given: bytes = b"",
    cwd: Path | None = None,
    limit: int = OUTPUT_BYTES,
) -> Finished:
    """Run a program to completion, then kill the processes left in its session.

    Args:
        command: an absolute path and its arguments.
        timeout_s: the time limit in seconds.
        environ: its environment, from `child_environment`; None uses that of this process.
        given: its standard input.
        cwd: its working directory; None uses the current directory.
        limit: the maximum number of bytes on stdout or stderr.

    Raises:
        ProgramError: it took too long, or printed more than `limit`.
        OSError: it could not be started.
    """
    deadline = time.monotonic() + timeout_s
    with tempfile.TemporaryFile() as source:
        source.write(given)
        source.seek(0)
        process = subprocess.Popen(  # noqa: S603 - absolute paths, which callers give
            command,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=child_environment(os.environ) if environ is None else dict(environ),
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        with process.stdout, process.stderr:
            try:
                found = _read(process, (process.stdout, process.stderr), deadline, limit)
            except BaseException as error:
                kill_tree(process.pid)
                process.wait()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise ProgramError(f"took longer than {timeout_s:g} s") from None
                raise
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    return Finished(process.returncode, *found)


def _read(
    process: subprocess.Popen[bytes], streams: tuple[IO[bytes], IO[bytes]], deadline: float, limit: int
) -> tuple[bytes, bytes]:
    """Read both streams until the process ends, even if its children keep them open."""
    found = {stream.fileno(): bytearray() for stream in streams}
    with selectors.DefaultSelector() as selector:
        for descriptor in found:
            os.set_blocking(descriptor, False)
            selector.register(descriptor, selectors.EVENT_READ)
        ended = False
        while not ended:
            # The last round starts after the process ended, when all of its output is in the pipes.
            ended = process.poll() is not None
            for descriptor, data in _ready(selector, 0.0 if ended else _LOOK_SECONDS):
                found[descriptor] += data
                if len(found[descriptor]) > limit:
                    raise ProgramError(f"printed more than {limit:,} bytes")
                if data:
                    ended = False
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(process.args, 0.0)
            if not selector.get_map() and not ended:
                process.wait(max(deadline - time.monotonic(), 0.0))
    out, error = found.values()
    return bytes(out), bytes(error)


def _ready(selector: selectors.BaseSelector, timeout_s: float) -> Iterator[tuple[int, bytes]]:
    for key, _ in selector.select(timeout_s):
        data = os.read(key.fd, _READ_BYTES)
        if not data:
            selector.unregister(key.fd)
        yield key.fd, data


def end_program(process: subprocess.Popen[bytes], *, within_s: float) -> int:
    """Wait for a terminating process, kill it with all descendants after `within_s`, return its exit code.

    A stopped process (SIGSTOP) cannot terminate normally and is killed without waiting.
    """
    deadline = time.monotonic() + within_s
    while process.poll() is None and time.monotonic() < deadline and not is_stopped(process.pid):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_SECONDS)
    if process.poll() is None:
        kill_tree(process.pid)
        # A process blocked in a system call, as on a hanging file system, dies only when the call returns.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_KILL_SECONDS)
    code: int | None = process.poll()
    return -signal.SIGKILL if code is None else code


def is_stopped(process: int) -> bool:
    """Return whether a process is stopped, for example by SIGSTOP."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(process).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return False


def kill_tree(leader: int) -> None:
    """Kill a process that leads a group, its group, and all descendants, whatever groups they are in.

    The process is stopped first, so that it cannot start more while its descendants are listed.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(leader, signal.SIGSTOP)
    for _ in range(_KILL_ROUNDS):
        if not (found := _descendants(leader)):
            break
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(leader, signal.SIGKILL)


def _descendants(process: int) -> list[psutil.Process]:
    """Return the live descendants; a killed child stays a zombie until its stopped parent is gone."""
    try:
        return [
            child
            for child in psutil.Process(process).children(recursive=True)
            if child.status() != psutil.STATUS_ZOMBIE
        ]
    except psutil.Error:
        return []
