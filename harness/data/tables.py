"""A file of a data set as a table: the columns that a task needs, and the position of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Final

from harness.foreign import read_regular

# Reading keeps the whole text in memory. Parquet files have no such limit.
LARGEST_TEXT_BYTES: Final = 2**32


class Cell(Enum):
    """A cell without a value: a missing key of a JSON object, or an empty CSV cell without quotes."""

    MISSING = "missing"


MISSING: Final = Cell.MISSING


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one file.

    `names` lists all columns of the file, `columns` has the values of the requested columns that exist.
    `rows` has the position of each row: the line where it starts in a text file, or its number from 1 in a
    Parquet file. `untyped` marks formats whose cells are all text, so that `0` may be a class id.
    `class_names` has the class names of a column, if the file declares them. `left_out` are the lines of
    broken rows that the published data set lacks too.
    """

    file: str
    names: tuple[str, ...]
    columns: dict[str, list[object]]
    rows: Sequence[int]
    untyped: bool = False
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: tuple[int, ...] = ()

    def renamed(self, names: Mapping[str, str]) -> Table:
        """Return the table with other names for some of its columns."""
        columns = {names.get(name, name): values for name, values in self.columns.items()}
        return replace(self, names=tuple(names.get(name, name) for name in self.names), columns=columns)

    def first(self, rows: int) -> Table:
        """Return the table of the first rows, in the order of the file."""
        columns = {name: values[:rows] for name, values in self.columns.items()}
        return replace(self, columns=columns, rows=self.rows[:rows])


class UnreadableError(Exception):
    """A file that is not a valid table; the message names the file, and the row if there is one."""


class NotCheckedError(Exception):
    """A file that cannot be read without a library that is not installed here."""


def decoded(path: Path) -> str:
    """Return the text of a UTF-8 file, without its byte order mark.

    Raises:
        UnreadableError: the file cannot be opened, is empty, or has a line that is not UTF-8.
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
