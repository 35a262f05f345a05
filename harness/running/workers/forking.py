"""Fork a worker for one trial: its own session, its own log, and nothing of the server's left open."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from harness.model.job import RunTrial
from harness.running.workers.capped_log import CappedLog
from harness.running.workers.descendants import die_with_parent
from harness.running.workers.worker import work
from harness.store.trial_folder import LOG


@dataclass(slots=True)
class Child:
    """A worker that runs: its process, the reading end of what it prints, its log, its temporary folder."""

    pid: int
    output: int
    log: CappedLog
    temporary: Path


def fork_worker(
    folder: Path, runner: RunTrial, redact: Callable[[str], str], *, temporary: Path, close: Collection[int]
) -> Child:
    """Fork a worker on the job in a trial's folder.

    Args:
        folder: the trial's folder; the worker's current directory, so that libraries find nothing of the
            user's there and leave nothing elsewhere.
        runner: what runs a trial, imported already.
        redact: removes secrets from output and errors of the worker.
        temporary: a folder to be made, where libraries put their temporary files; the caller removes it.
        close: file descriptors of the server to close in the worker.
    """
    temporary.mkdir(mode=0o700)
    log = CappedLog(folder / LOG, redact)
    output, print_to = os.pipe()
    server = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        try:
            _become_worker(server, folder, temporary, print_to, (*close, output))
        except BaseException:
            os._exit(71)
        _run_and_exit(folder, runner, redact)
    os.close(print_to)
    os.set_blocking(output, False)
    return Child(pid, output, log, temporary)


def _become_worker(server: int, folder: Path, temporary: Path, print_to: int, close: Collection[int]) -> None:
    os.setsid()
    die_with_parent(server)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(print_to, 1)
    os.dup2(print_to, 2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for descriptor in (null, print_to, *close):
        os.close(descriptor)
    # A crash of a large process must not leave gigabytes behind.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The second is what `tempfile` remembers, should the server have asked it.
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    os.chdir(folder)


def _run_and_exit(folder: Path, runner: RunTrial, redact: Callable[[str], str]) -> NoReturn:
    code = 70
    try:
        work(folder, runner, redact)
        code = 0
    except BaseException as error:  # nothing may unwind into the server's own frames
        traceback.print_exception(error)
        code = getattr(error, "exit_code", code)
    finally:
        # Flushing can fail where the trial has closed its descriptors; the result is written by then.
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                continue
        os._exit(code)
