"""One file of a data set as a table: the columns that a task needs, and where each row is in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from harness.foreign import read_regular

# The whole text is in memory while it is read; Parquet files are not limited by this.
LARGEST_TEXT_BYTES: Final = 2**32


class Cell(Enum):
    """A cell that has no value: a key that a JSON object lacks, or an empty CSV cell without quotes."""

    MISSING = "missing"


MISSING: Final = Cell.MISSING


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one file.

    `names` lists all columns of the file, `columns` has the values of those that were asked for and exist.
    `rows` numbers the rows as an editor does: the line where a row of a text file starts, or the row of a
    Parquet file from 1. `untyped` marks formats whose cells are all text, so that `0` may be a class id.
    `class_names` has the names of the classes of a column, where the file declares them.
    """

    file: str
    names: tuple[str, ...]
    columns: dict[str, list[object]]
    rows: Sequence[int]
    untyped: bool = False
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class UnreadableError(Exception):
    """A file that is no table in its format; the message names the file, and the row where there is one."""


class NotCheckedError(Exception):
    """A file that cannot be read without a library that is not installed here."""


def decoded(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Raises:
        UnreadableError: cannot be opened, empty, or not UTF-8; the latter with its line.
    """
    try:
        content = read_regular(path, limit=LARGEST_TEXT_BYTES)
    except OSError as error:
        raise UnreadableError(f"{path.name} cannot be read: {error.strerror or error}") from error
    if not content or content.isspace():
        raise UnreadableError(f"{path.name} is empty; give a file with at least one example")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise UnreadableError(
            f"{path.name}:{line}: byte {column} of the line is not UTF-8; save the file as UTF-8"
        ) from error
