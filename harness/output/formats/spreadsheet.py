"""A document as CSV: raw numbers in base units, and no cell that a spreadsheet would execute."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Final

from harness.output.document import Document, Value
from harness.output.safe_text import safe_text

LONGEST_CELL: Final = 2_000

# Spreadsheets take a cell that begins so as a formula; the wide forms are East Asian keyboards'.
_FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001 - the wide forms are meant


def csv_cell(text: str) -> str:
    """Escape a text for a spreadsheet; one that looks like a formula gets an apostrophe before it."""
    shown = safe_text(text, LONGEST_CELL)
    return f"'{shown}" if shown.lstrip(" '\"").startswith(_FORMULA) else shown


def to_csv(document: Document) -> str:
    """A line for each record, or for each row of the main table; an empty number is unknown."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    for place, record in enumerate(document.records or _cells(document)):
        if place == 0:
            writer.writerow(csv_cell(name) for name in record)
        writer.writerow(map(_value, record.values()))
    return out.getvalue()


def _cells(document: Document) -> Iterator[Mapping[str, Value]]:
    columns = document.tables[0].columns if document.tables else ()
    titles = [column.title for column in columns]
    for cells in zip(*(column.cells for column in columns), strict=True):
        yield dict(zip(titles, cells, strict=True))


def _value(value: Value) -> str | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return csv_cell(value) if isinstance(value, str) else value
