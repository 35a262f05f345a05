"""The parent's side of the fork server: which requests there are, and what it reports."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from harness.model.frozen import Frozen
from harness.running.workers.channel import Channel
from harness.running.workers.descendants import signal_group

_EXIT_SECONDS: Final = 3.0
_LONGEST_EVENT: Final = 2**20


class ServerEvent(Frozen):
    """A report of a fork server: that it is ready, or what became of the request about a trial's folder.

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
        runner: `module:function` of the runner of trials.
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
        self._leaders: set[int] = set()
        self.ready = False
        # A short path, for some libraries put sockets there.
        self._temporary = tempfile.mkdtemp(prefix="harness-")
        try:
            self._channel = Channel(
                "harness.running.workers.fork_server",
                runner,
                self._temporary,
                log=folder / "server.log",
                environ=environ,
                longest=_LONGEST_EVENT,
                python=python,
            )
        except BaseException:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise
        self._channel.send({"redact": list(secrets)})
        self.is_stopped = self._channel.is_stopped
        self.last_words = self._channel.last_words

    def fork(self, folder: Path) -> None:
        """Have the job in a trial's folder run."""
        self._channel.send({"fork": str(folder)})

    def signal(self, pid: int, number: int) -> None:
        """Signal a worker's group, if it still runs."""
        self._channel.send({"signal": pid, "number": number})

    def events(self, timeout_s: float) -> list[ServerEvent] | None:
        """Return its reports, waiting for at most `timeout_s`; None when no more will come.

        That is when it has ended, or reported something other than an event.
        """
        lines = self._channel.lines(timeout_s)
        try:
            events = None if lines is None else [ServerEvent.model_validate_json(line) for line in lines]
        except ValidationError:
            self._channel.give_up("it reported something other than an event")
            return None
        for event in events or ():
            self._remember(event)
        return events

    def stop(self) -> str:
        """End it with every worker and all they started, at once, and return how it ended."""
        how = self._channel.stop(within_s=_EXIT_SECONDS if self.ready else 0.0)
        # A server that was killed took its workers with it, but not what they had started.
        for leader in self._leaders:
            signal_group(leader, signal.SIGKILL)
        self._leaders.clear()
        shutil.rmtree(self._temporary, ignore_errors=True)
        return how

    def _remember(self, event: ServerEvent) -> None:
        if event.event == "ready":
            self.ready = True
        elif event.event == "started":
            self._leaders.add(event.pid)
        elif event.event == "exited":
            self._leaders.discard(event.pid)
