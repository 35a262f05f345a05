"""Read the text columns of a split: every cell is a text that UTF-8 can encode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from harness.data.problems import Findings, encodable, kind_of, place
from harness.data.tables import MISSING, Table

_FIX: Final = "give every row a text, or remove the row"


def read_texts(tables: Sequence[Table], columns: Sequence[str], problems: list[str]) -> list[tuple[str, ...]]:
    """Return a tuple of texts for each row of these tables; add cells that are not text to `problems`."""
    for column in columns:
        found = Findings(column)
        for table in tables:
            _check(table, column, found)
        problems.extend(found)
    rows: list[tuple[str, ...]] = []
    for table in tables:
        rows.extend(zip(*(cast("list[str]", table.columns[column]) for column in columns), strict=True))
    return rows


def _check(table: Table, column: str, found: Findings) -> None:
    values = table.columns[column]
    if set(map(type, values)) == {str} and encodable("".join(cast("list[str]", values))):
        return
    for at, value in enumerate(values):
        if value is MISSING:
            quoted = ' (an empty text is written "")' if table.untyped else ""
            found.add("missing", place(table, at), f"the text is missing{quoted}; {_FIX}")
        elif not isinstance(value, str):
            found.add(f"{type(value)}", place(table, at), f"expected a text, found {kind_of(value)}; {_FIX}")
        elif not encodable(value):
            what = "the text contains half a surrogate pair, such as \\ud800, which is no character"
            found.add("surrogate", place(table, at), f"{what}; write the whole character")
