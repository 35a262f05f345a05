"""The errors a user can meet, and every exit code of the program.

The codes below 64 are ours; 69, 70, 74 and 75 are those of BSD's `sysexits.h`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a command ends with; after a signal it is 128 and the signal's number (`after_signal`)."""

    SUCCESS = 0
    NOT_PASSED = 1
    INVALID_INPUT = 2
    NOT_COMPARABLE = 3
    UNAVAILABLE = 69
    BUG = 70
    STORAGE = 74
    LOCKED = 75
    READER_GONE = 141


def after_signal(number: int) -> int:
    """Return the exit code of a command that a signal interrupted: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


def exit_code(*, passed: bool, interrupted: int | None = None) -> int:
    """Return the exit code of a command that did its work.

    Args:
        passed: whether every trial completed, every gate passed, or every proof held.
        interrupted: the signal that ended it early, or None.
    """
    if interrupted is not None:
        return after_signal(interrupted)
    return ExitCode.SUCCESS if passed else ExitCode.NOT_PASSED


class HarnessError(Exception):
    """Something a user can act on: what happened, where and why, and in `hint` what to do next."""

    exit_code: ClassVar[int] = ExitCode.BUG

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"

    @property
    def one_line(self) -> str:
        """The message and the hint on one line, for the row of a table or a log."""
        return "; ".join(line.strip() for line in str(self).splitlines())


class InvalidInputError(HarnessError):
    """A suite, an option or a report that is not valid."""

    exit_code = ExitCode.INVALID_INPUT


class NotComparableError(HarnessError):
    """Two reports share nothing that may be compared."""

    exit_code = ExitCode.NOT_COMPARABLE


class UnavailableError(HarnessError):
    """A device, model, data set or package that this machine lacks."""

    exit_code = ExitCode.UNAVAILABLE


class StorageError(HarnessError):
    """A file could not be written or read."""

    exit_code = ExitCode.STORAGE


class LockedError(HarnessError):
    """Another process works in the run directory."""

    exit_code = ExitCode.LOCKED
