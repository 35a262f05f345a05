"""The errors a user can meet, each with the exit code it ends the program with.

The codes below 64 are ours; 69, 70, 74 and 75 are those of BSD's `sysexits.h`.
"""

from __future__ import annotations

from typing import ClassVar


class HarnessError(Exception):
    """Something a user can act on: what happened, where and why, and in `hint` what to do next."""

    exit_code: ClassVar[int] = 70

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
    """A suite, an option or a report that cannot be accepted as it is."""

    exit_code = 2


class NotComparableError(HarnessError):
    """Two reports share nothing that may be compared."""

    exit_code = 3


class UnavailableError(HarnessError):
    """A device, model, data set or package that is not to be had here."""

    exit_code = 69


class StorageError(HarnessError):
    """A file could not be written or read."""

    exit_code = 74


class LockedError(HarnessError):
    """Another process holds the run directory."""

    exit_code = 75
