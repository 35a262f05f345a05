"""The parent's side of the process that speaks to Ray: start it, wait for so long and no longer, end it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from pydantic import ValidationError

from harness.errors import InvalidInputError, UnavailableError
from harness.machine.redaction import redact, secrets_in
from harness.programs import child_environment, end_program
from harness.running.ray.messages import Connected, Heard, Node
from harness.running.workers.descendants import signal_group
from harness.running.workers.line_pipe import LineReader, LineWriter, ProtocolError
from harness.running.workers.log_tail import log_tail
from harness.store.trial_folder import LARGEST_RESULT_BYTES

CONNECT_SECONDS: Final = 20.0
# The driver writes at least one line every second or two, unless a call of Ray's keeps it.
SILENT_SECONDS: Final = 120.0
_CLOSE_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.2
_ADDRESS: Final = re.compile(r"auto|[^\s:/]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")

_GIVE_TOKEN: Final = (
    "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN (or the file ~/.ray/auth_token) to the cluster's token."
)
# What Ray says once and then goes on trying for minutes -> what it means and what to do.
_HOPELESS: Final[dict[str, tuple[str, str]]] = {
    "InvalidAuthToken": ("it does not accept the token", _GIVE_TOKEN),
    "Failed to connect to GCS at address": (
        "nothing answers there",
        "Look whether its head runs and can be reached from here; --ray-address HOST:PORT names another.",
    ),
}
_START_ONE: Final = (
    "Start one with `ray start --head`, join it from other machines with `ray start --address HEAD:6379`, "
    "and name it with --ray-address HEAD:6379; or leave out --executor ray to run on this machine alone."
)


class RayConnection:
    """A process that speaks to a Ray cluster, connected.

    Args:
        address: `auto` for the cluster that this machine is a node of, or the `host:port` of its head.
        limit_s: how long connecting may take.
        silent_s: how long the process may write nothing before the connection counts as lost.
        environ: of the process; None takes this one's.

    Raises:
        InvalidInputError: the address is none that a driver can use.
        UnavailableError: there is no cluster, it refuses the token, or ray cannot be imported.
    """

    def __init__(
        self,
        address: str,
        *,
        limit_s: float = CONNECT_SECONDS,
        silent_s: float = SILENT_SECONDS,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.address = checked_address(address)
        self._environ = dict(os.environ if environ is None else environ)
        self._silent_s = silent_s
        self._problem = ""
        self._folder = TemporaryDirectory(prefix="harness-ray-")
        self._log = Path(self._folder.name) / "log"
        self._process, self._events = self._start()
        assert self._process.stdin is not None
        self._orders = LineWriter(self._process.stdin.fileno())
        # A line may carry a trial's whole result, and its log.
        self._reader = LineReader(self._events, longest=2 * LARGEST_RESULT_BYTES)
        self._heard_at = time.monotonic()
        self.nodes: Sequence[Node] = ()
        try:
            self.nodes = self._connected(limit_s)
        except BaseException:
            self.close()
            raise

    def send(self, order: Mapping[str, Any]) -> None:
        """Give an order; a process that has ended is noticed where its events end."""
        if self._events >= 0:
            self._orders.send(order)

    def heard(self, timeout_s: float) -> Sequence[Heard] | None:
        """What was heard of attempts, waiting for at most `timeout_s`; None when the connection has ended.

        It has ended, too, when the process has written nothing for so long that it must be stopped or stuck.
        """
        lines = self._lines(timeout_s)
        now = time.monotonic()
        if lines:
            self._heard_at = now
        elif lines is not None and now - self._heard_at > self._silent_s:
            self._problem = f"the process that speaks to Ray did not respond for {self._silent_s:g} s"
            return None
        return None if lines is None else [heard for line in lines if (heard := _parsed(line))]

    def last_words(self) -> str:
        """Why it was given up, or the last line that Ray said, after the connection has ended."""
        lines = [line.strip() for line in log_tail(self._log).splitlines() if line.strip()]
        return self._problem or (lines[-1][:300] if lines else "it said nothing")

    def close(self) -> None:
        """End the process, and with it all that it has started on the cluster."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                if self._process.stdin is not None:
                    self._process.stdin.close()
        # Before it is connected it listens to nothing, and Ray waits deaf to all but this.
        end_program(self._process, within_s=_CLOSE_SECONDS if self.nodes and not self._problem else 0.0)
        signal_group(self._process.pid, signal.SIGKILL)
        if self._events >= 0:
            os.close(self._events)
            self._events = -1
        self._folder.cleanup()

    def _start(self) -> tuple[subprocess.Popen[bytes], int]:
        events, report_to = os.pipe()
        environ = child_environment(self._environ) | {"RAY_USAGE_STATS_ENABLED": "0"}
        command = [sys.executable, "-P", "-m", "harness.running.ray.driver"]
        try:
            with self._log.open("wb") as log:
                process = subprocess.Popen(  # noqa: S603 -- our own module, under this interpreter
                    [*command, self.address, str(report_to), str(os.getpid())],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    # Ray has its workers import from the driver's current directory: this one holds nothing.
                    cwd=self._folder.name,
                    env=environ,
                    pass_fds=(report_to,),
                    start_new_session=True,
                )
        finally:
            os.close(report_to)
        return process, events

    def _connected(self, limit_s: float) -> Sequence[Node]:
        """Wait for the first line, or for a reason not to."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            lines = self._lines(_LOOK_SECONDS)
            said = log_tail(self._log)
            for words, (why, hint) in _HOPELESS.items():
                if words in said and not lines:
                    raise self._unavailable(why, hint)
            if lines is None:
                raise self._unavailable(self.last_words(), _START_ONE)
            if lines:
                connected = Connected.model_validate_json(lines[0])
                if connected.problem is not None:
                    hint = _GIVE_TOKEN if "authentication" in connected.problem.lower() else _START_ONE
                    raise self._unavailable(connected.problem, hint)
                return connected.nodes
        raise self._unavailable(f"it did not answer within {limit_s:g} s", _START_ONE)

    def _unavailable(self, why: str, hint: str) -> UnavailableError:
        where = "of this machine" if self.address == "auto" else f"at {self.address}"
        message = f"cannot use the Ray cluster {where}: {why}"
        return UnavailableError(redact(message, secrets_in(self._environ)), hint=hint)

    def _lines(self, timeout_s: float) -> list[bytes] | None:
        if self._events < 0:
            return None
        self._orders.flush()
        try:
            return self._reader.lines(timeout_s)
        except ProtocolError as error:
            self._problem = str(error)
            return None


def checked_address(address: str) -> str:
    """The address, if a process that starts tasks can use it.

    Raises:
        InvalidInputError: it is not of the form `auto` or `host:port`.
    """
    if _ADDRESS.fullmatch(address):
        return address
    raise InvalidInputError(
        f"Ray address {address[:100]!r}: neither `auto` nor the host:port of a cluster's head",
        hint=(
            "Start the run on a node of the cluster, by hand or with `ray job submit -- harness run ...`; "
            "addresses that begin with ray:// or http:// are for other clients."
        ),
    )


def _parsed(line: bytes) -> Heard | None:
    try:
        return Heard.model_validate_json(line)
    except ValidationError:
        return None
