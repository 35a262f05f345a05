"""JSON lines between a process and a child of it; a child that does not read or write blocks nobody.

The parent writes requests to the child's standard input. The child writes reports to a separate pipe, so that
whatever a library prints goes to a log and cannot pass for a report.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from harness.foreign import last_lines
from harness.programs import end_program, is_stopped
from harness.running.workers.descendants import signal_group

_READ_BYTES: Final = 2**18
_REQUESTS: Final = 0
_LONGEST_WORDS: Final = 500


class ProtocolError(Exception):
    """The other process wrote something other than a message."""


class LineWriter:
    """Send documents as JSON lines, and buffer data that the pipe does not accept yet.

    Args:
        descriptor: the writing end of a pipe, which its owner closes.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._pending = b""

    def send(self, document: Mapping[str, Any]) -> None:
        """Send a document after those that are still to be sent."""
        self._pending += json.dumps(document).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Write as much as the pipe takes now."""
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._descriptor, self._pending) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            # The process has ended, which is noticed where its own lines end.
            self._pending = b""


class LineReader:
    """Read lines from the reading end of a pipe, which its owner closes.

    Args:
        descriptor: the end.
        longest: the most bytes that a line may have.
    """

    def __init__(self, descriptor: int, *, longest: int) -> None:
        self._descriptor = descriptor
        self._longest = longest
        self._pending = bytearray()
        self._poll = select.poll()  # `select.select` refuses descriptors above 1023
        self._poll.register(descriptor, select.POLLIN)

    def lines(self, timeout_s: float) -> list[bytes] | None:
        """Return the lines that have come, waiting for at most `timeout_s` for any; None at their end.

        Raises:
            ProtocolError: a line is longer than any message.
        """
        if not self._poll.poll(timeout_s * 1_000):
            return []
        data = os.read(self._descriptor, _READ_BYTES)
        if not data:
            return None
        self._pending += data
        if b"\n" not in data:
            if len(self._pending) > self._longest:
                raise ProtocolError(f"it wrote a line of more than {self._longest:,} bytes")
            return []
        *lines, rest = bytes(self._pending).split(b"\n")
        self._pending = bytearray(rest)
        return lines


class Channel:
    """The parent's end, with the child itself: start it, send requests, read its reports, stop it.

    The child is started as `python -P -m MODULE SUBJECT EVENTS PARENT MORE...`: EVENTS is the file descriptor
    that it reports to, PARENT the process that it must not outlive.

    Args:
        module: the module that it runs.
        subject: its first argument.
        more: the arguments after EVENTS and PARENT.
        log: the file that gets what it prints; the log's folder is its current directory.
        environ: its whole environment.
        longest: the most bytes that a report may have.
        python: the interpreter it runs under.
    """

    def __init__(
        self,
        module: str,
        subject: str,
        *more: str,
        log: Path,
        environ: Mapping[str, str],
        longest: int,
        python: str = sys.executable,
    ) -> None:
        self._log = log
        self._problem = ""
        # A pipe in place of the log would block without O_NONBLOCK.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        printed = os.open(log, flags, 0o666)
        self._events, report_to = os.pipe()
        # -P keeps the current directory out of the import path: a file there must not pass for a library.
        command = [python, "-P", "-m", module, subject, str(report_to), str(os.getpid()), *more]
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own module, under an interpreter we chose
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=printed,
                cwd=log.parent,
                env=dict(environ),
                pass_fds=(report_to,),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._events)
            raise
        finally:
            os.close(report_to)
            os.close(printed)
        assert self._process.stdin is not None
        self._requests = LineWriter(self._process.stdin.fileno())
        self._reader = LineReader(self._events, longest=longest)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request; a child that has ended is noticed where its reports end."""
        if self._events >= 0:
            self._requests.send(request)

    def lines(self, timeout_s: float) -> list[bytes] | None:
        """Return the lines that it wrote, waiting for at most `timeout_s`; None when no more will come.

        No more will come when it has ended, was stopped or given up, or wrote a line without an end.
        """
        if self._events < 0 or self._problem:
            return None
        self._requests.flush()
        try:
            return self._reader.lines(timeout_s)
        except ProtocolError as error:
            self.give_up(str(error))
            return None

    def give_up(self, problem: str) -> None:
        """Read no more from it, for that reason."""
        self._problem = problem

    def is_stopped(self) -> bool:
        """Whether it has been stopped, as by SIGSTOP: it will serve no request."""
        return is_stopped(self._process.pid)

    def printed(self) -> str:
        """Return the end of its log."""
        return last_lines(self._log)

    def last_words(self) -> str:
        """Return why it was given up, or the last line of its log that is not empty."""
        lines = [line.strip() for line in self.printed().splitlines() if line.strip()]
        return self._problem or (lines[-1][:_LONGEST_WORDS] if lines else "it printed nothing")

    def stop(self, *, within_s: float) -> str:
        """Close its standard input, which ends it, or kill it with all descendants; return how it ended.

        One that was given up gets no time to end in order. A second call does nothing new.
        """
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        code = end_program(self._process, within_s=0.0 if self._problem else within_s)
        if self._events >= 0:
            signal_group(self._process.pid, signal.SIGKILL)
            os.close(self._events)
            self._events = -1
        return f"signal {-code}" if code < 0 else f"exit code {code}"


class ParentPipe:
    """The child's end: requests from standard input, reports to the descriptor on its command line.

    Args:
        descriptor: the one to report to.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self.descriptor = descriptor
        self.requests: Final = _REQUESTS
        self._pending = b""

    def take(self) -> list[dict[str, Any]] | None:
        """Read once from standard input, and return the whole requests; None at its end."""
        data = os.read(self.requests, _READ_BYTES)
        if not data:
            return None
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def report(self, line: str) -> None:
        """Write one line.

        Raises:
            BrokenPipeError: the parent has ended.
        """
        data = memoryview(line.encode() + b"\n")
        while data:
            data = data[os.write(self.descriptor, data) :]
