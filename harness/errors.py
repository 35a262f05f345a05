"""Errors shown to the user, and the exit codes of the program.

Codes below 64 are defined by this project; 69, 70, 74 and 75 are those of BSD's `sysexits.h`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Self


class ExitCode(IntEnum):
    """Exit codes of the commands and their meanings; `after_signal` gives those after a signal."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        """Make a number with a meaning."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    SUCCESS = 0, "every trial completed, every gate and proof passed"
    NOT_PASSED = 1, "a trial did not complete, or a gate or a proof failed"
    INVALID_INPUT = 2, "a suite, an option or a file is not valid"
    NOT_COMPARABLE = 3, "nothing may be compared, or parts of a run are missing"
    UNAVAILABLE = 69, "a device, checkpoint, data set or package is not available"
    BUG = 70, "a bug in `harness`"
    STORAGE = 74, "a file could not be read or written"
    LOCKED = 75, "another process is using the run directory"
    READER_GONE = 141, "the reader of standard output closed it"


def after_signal(number: int) -> int:
    """Return the exit code of a command that a signal interrupted: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


def exit_code(*, passed: bool, interrupted: int | None = None) -> int:
    """Return the exit code of a command that did its work.

    Args:
        passed: whether every trial completed, every gate passed, or every proof passed.
        interrupted: the number of the signal that interrupted it, or None.
    """
    if interrupted is not None:
        return after_signal(interrupted)
    return ExitCode.SUCCESS if passed else ExitCode.NOT_PASSED


class HarnessError(Exception):
    """An error a user can act on: `message` states problem, place and cause, `hint` the next step."""

    exit_code: ClassVar[int] = ExitCode.BUG

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"

    @property
    def one_line(self) -> str:
        """Message and hint on one line, for a table row or a log."""
        return "; ".join(line.strip() for line in str(self).splitlines())


class InvalidInputError(HarnessError):
    """A suite, an option or a report that is not valid."""

    exit_code = ExitCode.INVALID_INPUT


class NotComparableError(HarnessError):
    """Two reports have nothing comparable in common, or runs are not the parts of one plan."""

    exit_code = ExitCode.NOT_COMPARABLE


class UnavailableError(HarnessError):
    """A device, model, data set or package that this machine lacks."""

    exit_code = ExitCode.UNAVAILABLE


class StorageError(HarnessError):
    """A file could not be written or read."""

    exit_code = ExitCode.STORAGE


class LockedError(HarnessError):
    """Another process is using the run directory."""

    exit_code = ExitCode.LOCKED
