"""Fork a worker for one trial: its own session, a log of limited size, and no open file of the server."""

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
from typing import Final, NoReturn

from harness.model.job import RunTrial
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


HEAD_BYTES: Final = 2 * 2**20
TAIL_BYTES: Final = 256 * 2**10
# A line longer than this is cut into pieces, each redacted with the end of the one before it.
LONGEST_LINE: Final = 64 * 2**10
OVERLAP: Final = 4 * 2**10


class CappedLog:
    """Writes the first megabytes of a stream as they come, and its last kilobytes when it is closed.

    Args:
        path: the file to write; an old one is replaced, and a link in its place is not followed.
        redact: takes secrets out of a piece of text, whole lines where it can be.
        head_bytes: how much is written as it comes.
        tail_bytes: how much of the rest is kept for the end.
    """

    def __init__(
        self,
        path: Path,
        redact: Callable[[str], str],
        *,
        head_bytes: int = HEAD_BYTES,
        tail_bytes: int = TAIL_BYTES,
    ) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        # A named pipe in its place is refused, where opening it would wait for a reader.
        flags |= os.O_NONBLOCK
        self._file = os.open(path, flags, 0o666)
        self._redact = redact
        self._room = head_bytes
        self._tail_bytes = tail_bytes
        self._pending = b""
        self._tail = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        """Add output of the worker."""
        if self._room <= 0:
            self._keep_tail(data)
            return
        self._pending += data
        lines, newline, rest = self._pending.rpartition(b"\n")
        if newline:
            self._pending = rest
            self._write(lines + newline)
        if len(self._pending) > LONGEST_LINE:
            self._cut_line()

    def close(self) -> None:
        """Write pending output, and the end of output beyond the limit."""
        self._write(self._pending)
        self._pending = b""
        self._cut_tail()
        if self._dropped or self._tail:
            note = f"\n[{self._dropped} bytes of output are left out here]\n" if self._dropped else ""
            os_write_all(self._file, note.encode() + self._clean(bytes(self._tail)))
        os.close(self._file)

    def _cut_line(self) -> None:
        cleaned = self._clean(self._pending)
        self._pending = cleaned[-OVERLAP:]
        self._write(cleaned[:-OVERLAP])

    def _write(self, data: bytes) -> None:
        if not data:
            return
        fits, beyond = data[: max(self._room, 0)], data[max(self._room, 0) :]
        self._room -= len(fits)
        if beyond:
            # Cut between lines, so that a secret is not halved at the edge.
            whole, newline, half = fits.rpartition(b"\n")
            fits, beyond = (whole + newline, half + beyond)
            self._room = 0
            self._keep_tail(beyond)
        os_write_all(self._file, self._clean(fits))

    def _keep_tail(self, data: bytes) -> None:
        self._tail += data
        # Cut rarely: each cut copies the kept part.
        if len(self._tail) > 4 * self._tail_bytes:
            self._cut_tail()

    def _cut_tail(self) -> None:
        excess = len(self._tail) - self._tail_bytes
        if excess > 0:
            # Begin at a whole line, so that no half of a secret remains at the start.
            start = self._tail.find(b"\n", excess) + 1 or len(self._tail)
            self._dropped += start
            del self._tail[:start]

    def _clean(self, data: bytes) -> bytes:
        return self._redact(data.decode("utf-8", "replace")).encode("utf-8", "replace")


def os_write_all(file: int, data: bytes) -> None:
    """Write all of the data; a full disk loses only the rest of a log."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(file, view) :]
    except OSError:
        return
