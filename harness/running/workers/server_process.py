"""The parent's side of the fork server: start it, send requests, read what it reports."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from harness.model.frozen import Frozen
from harness.programs import end_program, is_stopped
from harness.running.workers.descendants import signal_group
from harness.running.workers.line_pipe import LineReader, LineWriter, ProtocolError
from harness.running.workers.log_tail import log_tail

_EXIT_SECONDS: Final = 3.0
_LONGEST_EVENT: Final = 2**20


class ServerEvent(Frozen):
    """What a fork server reports: that it is ready, or what became of the request about a trial's folder.

    `status` is as of `os.wait`.
    """

    event: Literal["ready", "started", "refused", "exited"]
    folder: str = ""
    pid: int = 0
    reason: str = ""
    status: int = 0
    max_rss_bytes: int = 0


class ServerProcess:
    """A running fork server.

    Args:
        runner: `module:function` of what runs a trial.
        environ: its whole environment.
        folder: the run directory: its current directory, and where its `server.log` goes.
        secrets: values it keeps out of the workers' logs.
        python: the interpreter it runs under.
    """

    def __init__(
        self,
        runner: str,
        environ: Mapping[str, str],
        folder: Path,
        secrets: Sequence[str] = (),
        *,
        python: str = sys.executable,
    ) -> None:
        self.log = folder / "server.log"
        self._problem = ""
        self._leaders: set[int] = set()
        self.ready = False
        # A pipe in place of the log would block without O_NONBLOCK.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        log = os.open(self.log, flags, 0o666)
        # A short path, for some libraries put sockets there.
        self._temporary = tempfile.mkdtemp(prefix="harness-")
        events, report_to = os.pipe()
        # -P keeps the current directory out of the import path: a file there must not pass for a library.
        command = [python, "-P", "-m", "harness.running.workers.fork_server"]
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own module, under this interpreter
                [*command, runner, str(report_to), str(os.getpid()), self._temporary],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=dict(environ),
                pass_fds=(report_to,),
                start_new_session=True,
            )
        finally:
            os.close(report_to)
            os.close(log)
        assert self._process.stdin is not None
        self._requests = LineWriter(self._process.stdin.fileno())
        self._events_descriptor = events
        self._events = LineReader(events, longest=_LONGEST_EVENT)
        self._requests.send({"redact": list(secrets)})

    def fork(self, folder: Path) -> None:
        """Have the job in a trial's folder run."""
        self._requests.send({"fork": str(folder)})

    def signal(self, pid: int, number: int) -> None:
        """Signal a worker's group, if it still runs."""
        self._requests.send({"signal": pid, "number": number})

    def events(self, timeout_s: float) -> list[ServerEvent] | None:
        """What the server has reported, waiting for at most `timeout_s`; None when nothing more will come.

        That is when it has ended, and when it has reported what is no event.
        """
        self._requests.flush()
        try:
            lines = self._events.lines(timeout_s)
            events = None if lines is None else [_parsed(line) for line in lines]
        except ProtocolError as error:
            self._problem = str(error)
            return None
        for event in events or ():
            self._remember(event)
        return events

    def is_stopped(self) -> bool:
        """Whether it has been stopped, as by SIGSTOP: it will do nothing that it is asked for."""
        return is_stopped(self._process.pid)

    def last_words(self) -> str:
        """Why it was given up, or the last line of its log that is not empty, after it has ended."""
        lines = [line for line in log_tail(self.log).splitlines() if line.strip()]
        return self._problem or (lines[-1].strip() if lines else "it said nothing")

    def stop(self) -> str:
        """End it with every worker and all they started, at once; how it ended, as words."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        in_order = self.ready and not self._problem
        code = end_program(self._process, within_s=_EXIT_SECONDS if in_order else 0.0)
        # A server that was killed took its workers with it, but not what they had started.
        for leader in self._leaders:
            signal_group(leader, signal.SIGKILL)
        self._leaders.clear()
        shutil.rmtree(self._temporary, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self._events_descriptor)
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _remember(self, event: ServerEvent) -> None:
        if event.event == "ready":
            self.ready = True
        elif event.event == "started":
            self._leaders.add(event.pid)
        elif event.event == "exited":
            self._leaders.discard(event.pid)


def _parsed(line: bytes) -> ServerEvent:
    try:
        return ServerEvent.model_validate_json(line)
    except ValidationError as error:
        raise ProtocolError("it reported what is no event") from error
