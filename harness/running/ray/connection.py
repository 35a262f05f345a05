"""The parent's side of the process that speaks to Ray: start it, wait for so long and no longer, end it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from harness.errors import InvalidInputError, UnavailableError
from harness.machine.redaction import redact, secrets_in
from harness.programs import child_environment
from harness.running.remote.messages import Connected, Heard, Node, parsed
from harness.running.workers.channel import Channel
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
# A line that Ray prints once before it retries for minutes -> its meaning and the next step.
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
        # Ray has its workers import from the driver's current directory: this one is empty but for the log.
        self._folder = TemporaryDirectory(prefix="harness-ray-")
        self.nodes: Sequence[Node] = ()
        self._channel = Channel(
            "harness.running.ray.driver",
            self.address,
            log=Path(self._folder.name) / "log",
            environ=child_environment(self._environ) | {"RAY_USAGE_STATS_ENABLED": "0"},
            # A line may carry a trial's whole result, and its log.
            longest=2 * LARGEST_RESULT_BYTES,
        )
        self.send = self._channel.send
        self.last_words = self._channel.last_words
        self._heard_at = time.monotonic()
        try:
            self.nodes = self._connected(limit_s)
        except BaseException:
            self.close()
            raise

    def heard(self, timeout_s: float) -> Sequence[Heard] | None:
        """Return the news of attempts, waiting for at most `timeout_s`; None when the connection has ended.

        It has ended, too, when the process has written nothing for so long that it must be stopped or stuck.
        """
        lines = self._channel.lines(timeout_s)
        now = time.monotonic()
        if lines:
            self._heard_at = now
        elif lines is not None and now - self._heard_at > self._silent_s:
            self._channel.give_up(f"the process that speaks to Ray did not respond for {self._silent_s:g} s")
            return None
        return None if lines is None else [heard for line in lines if (heard := parsed(line))]

    def close(self) -> None:
        """End the process, and with it all that it has started on the cluster."""
        # Before it is connected it reads nothing, and Ray ignores every other way to end it.
        self._channel.stop(within_s=_CLOSE_SECONDS if self.nodes else 0.0)
        self._folder.cleanup()

    def _connected(self, limit_s: float) -> Sequence[Node]:
        """Wait for the first line, or for a reason not to."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            lines = self._channel.lines(_LOOK_SECONDS)
            printed = self._channel.printed()
            for words, (why, hint) in _HOPELESS.items():
                if words in printed and not lines:
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
