"""Processes for the store's tests: forked, so that hundreds of them start in the time of one import."""

from __future__ import annotations

import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from harness.errors import HarnessError


class Child:
    """A forked process that runs `work`, telling lines to its parent; its exit code is the error's."""

    def __init__(self, work: Callable[[Callable[[str], None]], None]) -> None:
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._read)
            os._exit(_run(work, write))
        os.close(write)
        self._text = b""

    def wait_for_line(self, timeout_s: float = 20.0) -> str:
        """The first line the child tells; empty if it ends or hangs without one."""
        poll = select.poll()  # `select.select` refuses descriptors above 1023
        poll.register(self._read, select.POLLIN)
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._text and (left := deadline - time.monotonic()) > 0:
            if poll.poll(left * 1_000):
                part = os.read(self._read, 65_536)
                if not part:
                    break
                self._text += part
        return self._text.decode().partition("\n")[0]

    def kill(self) -> None:
        """End it as `kill -9` does."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> tuple[int, list[str]]:
        """Its exit code, negative for a signal, and all the lines it told."""
        while part := os.read(self._read, 65_536):
            self._text += part
        os.close(self._read)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return code, self._text.decode().splitlines()


def _run(work: Callable[[Callable[[str], None]], None], write: int) -> int:
    try:
        work(lambda line: void(os.write(write, f"{line}\n".encode())))
    except HarnessError as error:
        os.write(write, f"{error.message}\n".encode())
        return error.exit_code
    except BaseException:
        traceback.print_exc()
        return 70
    return 0


def void(_: object) -> None:
    """Nothing, of whatever it is given."""
