"""Collect the problems of a data set: one sentence for each kind, with the first row that has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.data.tables import MISSING, Table
from harness.errors import InvalidInputError
from harness.model.assets import ResolvedData

_SHOWN: Final = 40
_KINDS: Final[dict[type, str]] = {list: "a list", dict: "an object", bytes: "bytes"}


class InvalidDataError(InvalidInputError):
    """A data set that no trial can use; `problems` has one sentence for each correction."""

    def __init__(self, data: ResolvedData, problems: Sequence[str]) -> None:
        title = f"data set {data.name} ({data.source})"
        if len(problems) == 1:
            message = f"{title}: {problems[0]}"
        else:
            message = "\n".join([f"{title}: {len(problems)} problems", *(f"  {one}" for one in problems)])
        super().__init__(
            message,
            hint="Correct the files, or name other columns, splits or another folder in the suite's task.",
        )
        self.problems = tuple(problems)


@dataclass(slots=True)
class Findings:
    """Problems of the rows of one column, grouped by kind: the first row of each kind and their number."""

    column: str
    _first: dict[str, str] = field(default_factory=dict)
    _rows: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, place: str, what: str, rows: int = 1) -> None:
        """Record a problem; only the first of each kind is shown with its `place` and `what`."""
        self._first.setdefault(kind, f"{place}: column {self.column!r}: {what}")
        self._rows[kind] = self._rows.get(kind, 0) + rows

    def __iter__(self) -> Iterator[str]:
        for kind, first in self._first.items():
            more = self._rows[kind] - 1
            others = f" (and {more:,} more such row{'s' if more > 1 else ''})" if more else ""
            yield f"{first}{others}"


def place(table: Table, at: int) -> str:
    """Return the file and the number of the table's row `at`, such as `train.csv:7`."""
    return f"{table.file}:{table.rows[at]}"


def kind_of(value: object) -> str:
    """Describe a value in words: `null`, `a list`, `the float 0.5`."""
    if value is MISSING:
        return "missing"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the {type(value).__name__} {shown(value)}"
    return (
        f"the text {shown(value)}"
        if isinstance(value, str)
        else _KINDS.get(type(value), f"a {type(value).__name__}")
    )


def shown(value: object) -> str:
    """Return a value as text for a message, shortened."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def encodable(text: str) -> bool:
    r"""Return whether UTF-8 can encode the text; it cannot encode a lone surrogate, such as `"\ud800"`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
