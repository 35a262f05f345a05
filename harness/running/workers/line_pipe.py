"""JSON lines to and from another process over pipes; a process that does not read or write blocks nobody."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Mapping
from typing import Any, Final

_READ_BYTES: Final = 2**18


class ProtocolError(Exception):
    """The other process wrote what is no message."""


class LineWriter:
    """Sends documents as JSON lines; what the pipe does not take yet is kept until it does.

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
    """Reads lines from the reading end of a pipe, which its owner closes.

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
