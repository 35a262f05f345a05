"""The table a person reads at a glance, and short notes below it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Final, Literal, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.analysis.rows import Row
from harness.analysis.summary import summarize
from harness.model.results import Report
from harness.output.cells import Column, columns
from harness.output.notes import notes
from harness.output.remarks import constants, parity, place, title
from harness.output.roofline import HEADING as ROOFLINE
from harness.output.roofline import no_roofline, roofline_columns, roofline_notes
from harness.output.safe_text import safe_text

OFF_TERMINAL_WIDTH: Final = 160
LONGEST_CELL: Final = 200
LONGEST_NOTE: Final = 1_000
_NARROWEST: Final = {"variant": 16}
_NARROWEST_OTHERS: Final = 12
_GAP: Final = 2


def report_table(report: Report, *, roofline: bool = False) -> RenderableType:
    """The report's table and notes; it takes the width it is given and says which columns that leaves out.

    `roofline` adds a second table: each variant beside its machine's peaks.
    """
    rows = summarize(report)
    if not rows:
        return Text(f"{safe_text(title(report), LONGEST_NOTE)}: nothing has run")
    table = FittedTable(
        title=safe_text(title(report), LONGEST_NOTE),
        subtitles=[
            safe_text(line, LONGEST_NOTE)
            for line in (constants(report), place(report), *parity(report, rows))
            if line
        ],
        columns=[safe_column(column) for column in columns(report, rows)],
        notes=[safe_text(note, LONGEST_NOTE) for note in notes(report, rows)],
    )
    return Group(table, Text(), _roofline_table(report, rows)) if roofline else table


def _roofline_table(report: Report, rows: Sequence[Row]) -> RenderableType:
    columns = roofline_columns(report, rows)
    if not columns:
        return Text(safe_text(no_roofline(report), LONGEST_NOTE))
    return FittedTable(
        title=ROOFLINE,
        subtitles=[],
        columns=[safe_column(column) for column in columns],
        notes=[safe_text(note, LONGEST_NOTE) for note in roofline_notes(report, rows)],
    )


def to_table(report: Report, width: int = OFF_TERMINAL_WIDTH) -> str:
    """The report's table as plain text, for a file or a pipe; `width` is in columns."""
    return plain(report_table(report), width)


def to_table_with_roofline(report: Report, width: int = OFF_TERMINAL_WIDTH) -> str:
    """The same, with each variant held against the peaks of its machine below."""
    return plain(report_table(report, roofline=True), width)


def plain(drawn: RenderableType, width: int = OFF_TERMINAL_WIDTH) -> str:
    """What rich draws, as text without colour and without spaces at the ends of lines."""
    console = Console(
        file=io.StringIO(), width=width, color_system=None, markup=False, highlight=False, emoji=False
    )
    with console.capture() as capture:
        console.print(drawn)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def make_console(stream: TextIO) -> Console:
    """A console that interprets nothing it prints; off a terminal it is wide enough for a whole table."""
    console = Console(file=stream, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, OFF_TERMINAL_WIDTH)
    return console


class FittedTable:
    """Title, table and notes, all of them safe text already; draws once the width is known."""

    def __init__(
        self, title: str, subtitles: Sequence[str], columns: Sequence[Column], notes: Sequence[str]
    ) -> None:
        self._title = title
        self._subtitles = subtitles
        self._columns = columns
        self._notes = notes

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Title, table and notes for the width at hand."""
        yield Text(self._title, style="bold")
        yield from (Text(line, overflow="fold") for line in self._subtitles)
        yield Text()
        shown = fitting(self._columns, options.max_width)
        if shown is None:
            yield from _blocks(self._columns)
            lines = list(self._notes)
        else:
            yield _table(shown, options.max_width)
            left_out = [column.title for column in self._columns if column not in shown]
            lines = [*self._notes, *_told(left_out)]
        if lines:
            yield Text()
            yield _list(lines)


def fitting(columns: Sequence[Column], width: int) -> list[Column] | None:
    """The columns that fit without breaking a number, or None if even the needed ones do not.

    Dispensable columns go first, from the right.
    """
    kept = list(columns)
    for column in reversed(columns):
        if _total(kept) <= width:
            break
        if column.dispensable:
            kept.remove(column)
    return kept if _total(kept) <= width else None


def _total(columns: Sequence[Column]) -> int:
    return sum(_least(column) + _GAP for column in columns) - _GAP


def _least(column: Column) -> int:
    """The width below which a number or a title's word would be broken; names and words may wrap earlier."""
    cells = max(map(cell_len, column.cells), default=0)
    if not column.numeric:
        cells = min(cells, _NARROWEST.get(column.title, _NARROWEST_OTHERS))
    return max(cells, *map(cell_len, column.title.split()))


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Numbers get what they need, names and words share the rest, the widest giving way first."""
    widths = [
        _least(column) if column.numeric else max(map(cell_len, (column.title, *column.cells)))
        for column in columns
    ]
    least = [_least(column) for column in columns]
    excess = sum(widths) + _GAP * (len(columns) - 1) - width
    while excess > 0:
        widest = max(range(len(columns)), key=lambda at: (widths[at] > least[at], widths[at]))
        widths[widest] -= 1
        excess -= 1
    return widths


def _table(columns: Sequence[Column], width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP - 1, 0, 0), show_edge=False)
    for column, wide in zip(columns, _widths(columns, width), strict=True):
        justify: Literal["left", "right"] = "right" if column.numeric else "left"
        table.add_column(Text(column.title), justify=justify, overflow="fold", width=wide)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(cell, style=_style(cell)) for cell in cells))
    return table


def _blocks(columns: Sequence[Column]) -> Iterator[RenderableType]:
    """Where a table is too wide: a variant's name on one line, what is known of it below."""
    names, *others = columns
    for at, name in enumerate(names.cells):
        yield Text(name, style="bold", overflow="fold")
        known = (f"{column.title} {column.cells[at]}" for column in others if column.cells[at])
        yield Padding(Text(", ".join(known), overflow="fold"), (0, 0, 0, 2), expand=False)


def _list(lines: Sequence[str]) -> Table:
    listed = Table.grid(padding=(0, 1))
    for line in lines:
        listed.add_row(Text("-"), Text(line, overflow="fold"))
    return listed


def _told(left_out: Sequence[str]) -> list[str]:
    if not left_out:
        return []
    return [f"left out at this width: {', '.join(left_out)}; `--format csv` has everything"]


def _style(cell: str) -> str:
    """Colour repeats what a word already says."""
    if "fastest" in cell or cell == "better":
        return "green"
    bad = ("failed", "degenerate", "fails parity", "fails training proof", "did not change")
    return "red" if cell == "worse" or any(word in cell for word in bad) else ""


def safe_column(column: Column) -> Column:
    """The column with every cell made safe and cut to a length that a table can hold."""
    cells = tuple(safe_text(cell, LONGEST_CELL) for cell in column.cells)
    return Column(column.title, cells, column.numeric, column.dispensable)
