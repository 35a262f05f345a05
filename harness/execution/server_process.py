"""The parent's side of the fork server: start it, send requests, read what it reports."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness.execution.descendants import signal_group

_READ_BYTES: Final = 2**18
_EXIT_SECONDS: Final = 3.0
_LOG_TAIL_BYTES: Final = 4096


class ServerProcess:
    """A running fork server.

    Args:
        runner: `module:function` of what runs a trial.
        environ: its whole environment.
        folder: the run directory: its current directory, and where its `server.log` goes.
        secrets: values it keeps out of the workers' logs.
    """

    def __init__(
        self, runner: str, environ: Mapping[str, str], folder: Path, secrets: Sequence[str] = ()
    ) -> None:
        self.log = folder / "server.log"
        self._pending = b""
        self._leaders: set[int] = set()
        self.ready = False
        events, report_to = os.pipe()
        self._events = events
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        log = os.open(self.log, flags, 0o666)
        # -P keeps the current directory out of the import path: a file there must not pass for a library.
        command = [sys.executable, "-P", "-m", "harness.execution.fork_server"]
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own module, under this interpreter
                [*command, runner, str(report_to), str(os.getpid())],
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
        self._send({"redact": list(secrets)})

    def fork(self, folder: Path) -> None:
        """Have the job in a trial's folder run."""
        self._send({"fork": str(folder)})

    def signal(self, pid: int, number: int) -> None:
        """Signal a worker's group, if it still runs."""
        self._send({"signal": pid, "number": number})

    def events(self, timeout_s: float) -> list[dict[str, Any]] | None:
        """What the server has reported, waiting for at most `timeout_s`; None when it has ended."""
        readable, _, _ = select.select([self._events], [], [], timeout_s)
        if not readable:
            return []
        data = os.read(self._events, _READ_BYTES)
        if not data:
            return None
        *lines, self._pending = (self._pending + data).split(b"\n")
        events: list[dict[str, Any]] = [json.loads(line) for line in lines]
        for event in events:
            self._remember(event)
        return events

    def last_words(self) -> str:
        """The last line of its log that says something, after it has ended."""
        data = self.log.read_bytes()[-_LOG_TAIL_BYTES:] if self.log.exists() else b""
        lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "it said nothing"

    def stop(self) -> str:
        """End it with every worker and all they started, at once; how it ended, as words."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            code = self._process.wait(_EXIT_SECONDS if self.ready else 0.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        # A server that was killed took its workers with it, but not what they had started.
        for leader in self._leaders:
            signal_group(leader, signal.SIGKILL)
        self._leaders.clear()
        with contextlib.suppress(OSError):
            os.close(self._events)
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _remember(self, event: dict[str, Any]) -> None:
        if event["event"] == "ready":
            self.ready = True
        elif event["event"] == "started":
            self._leaders.add(event["pid"])
        elif event["event"] == "exited":
            self._leaders.discard(event["pid"])

    def _send(self, request: dict[str, Any]) -> None:
        # A server that has ended is noticed where its events end, with its last words.
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
