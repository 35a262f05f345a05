"""A document as lines of any length: one for each row, however narrow the terminal, for `grep` and `cut`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.output.document import Column, Document, Table
from harness.output.safe_text import safe_text

LONGEST_TEXT: Final = 2_000
_INDENT: Final = "  "


def to_lines(document: Document) -> str:
    """Title, rows below their titles, and the other parts indented; of the layout `rows` the rows alone."""
    bare = document.layout == "rows"
    lines = [] if bare else [_safe(document.title), *map(_safe, document.summary), ""]
    for place, table in enumerate(document.tables):
        if place:
            lines += ["", _safe(table.title), *(f"{_INDENT}{line}" for line in _part(table))]
        else:
            lines += _rows(table.columns, titled=not bare)
    lines += map(_safe, document.notes)
    return "".join(f"{line}\n" for line in lines)


def _part(table: Table) -> list[str]:
    pairs = [[_safe(name), _safe(text)] for name, text in table.pairs]
    return [*_aligned(pairs), *map(_safe, table.notes)]


def _rows(columns: Sequence[Column], *, titled: bool) -> Iterator[str]:
    in_row = [column for column in columns if not column.below]
    below = [column for column in columns if column.below]
    cells = [[_safe(cell) for cell in row] for row in zip(*(column.cells for column in in_row), strict=True)]
    titles = [[column.title for column in in_row]] if titled else []
    first, *_ = widths = _widths([*titles, *cells]) or [0]
    for place, line in enumerate(_aligned([*titles, *cells], widths), start=-len(titles)):
        yield line
        texts = [column.cells[place] for column in below if place >= 0]
        yield from (f"{'':{first}}{_INDENT}{_safe(text)}" for text in texts if text)


def _aligned(rows: Sequence[Sequence[str]], widths: Sequence[int] | None = None) -> list[str]:
    widths = widths or _widths(rows)
    return [
        _INDENT.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _safe(text: str) -> str:
    return safe_text(text, LONGEST_TEXT)
