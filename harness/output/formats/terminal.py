"""A document as a terminal shows it: the table a person reads at a glance, and short notes below it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, Literal, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from harness.output.document import Column, Document, Table, Tone
from harness.output.safe_text import safe_text

OFF_TERMINAL_WIDTH: Final = 160
LONGEST_CELL: Final = 200
LONGEST_NOTE: Final = 1_000
# A longer word, such as a path, is broken where the table would not fit.
_LONGEST_WORD: Final = 32
_GAP: Final = 2
# Colour repeats a word of the cell and adds nothing to it.
_STYLES: Final[dict[Tone, str]] = {"": "", "good": "green", "bad": "red"}


def to_table(document: Document, width: int = OFF_TERMINAL_WIDTH) -> str:
    """The document as text without colour, for a file or a pipe; `width` is in columns."""
    console = Console(
        file=io.StringIO(), width=width, color_system=None, markup=False, highlight=False, emoji=False
    )
    with console.capture() as capture:
        console.print(drawn(document))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def drawn(document: Document) -> RenderableType:
    """The document for a terminal: it takes the width at hand and names the columns that this leaves out."""
    main, *others = document.tables or (Table(""),)
    parts: list[RenderableType] = [
        _Fitted(Table(document.title, main.columns, notes=(*document.notes, *main.notes)), document.summary)
    ]
    for table in others:
        if not table.detail:
            parts += [Text(), _Fitted(table)]
    return Group(*parts)


def make_console(stream: TextIO) -> Console:
    """A console that interprets nothing it prints; off a terminal it is wide enough for a whole table."""
    console = Console(file=stream, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, OFF_TERMINAL_WIDTH)
    return console


class _Fitted:
    """One table with its title and notes, made safe; it is drawn once the width is known."""

    def __init__(self, table: Table, subtitles: Sequence[str] = ()) -> None:
        self._title = safe_text(table.title, LONGEST_NOTE)
        self._subtitles = [safe_text(line, LONGEST_NOTE) for line in subtitles]
        self._columns = [_safe_column(column) for column in table.columns]
        self._notes = [safe_text(note, LONGEST_NOTE) for note in table.notes]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Title, table and notes for the width at hand."""
        yield Text(self._title, style="bold")
        yield from (Text(line, overflow="fold") for line in self._subtitles)
        notes = self._notes
        if self._columns:
            yield Text()
            shown = fitting(self._columns, options.max_width)
            if shown is None:
                yield from _blocks(self._columns)
            else:
                yield _table(shown, options.max_width)
                left_out = [column.title for column in self._columns if column not in shown]
                notes = [*notes, *_left_out(left_out)]
        if notes:
            yield Text()
            yield _list(notes)


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
    """The width below which a number or a word would be broken; a text may wrap between its words."""
    cells = column.cells if column.numeric else [word for cell in column.cells for word in cell.split()]
    longest = max(map(cell_len, cells), default=0)
    if not column.numeric:
        longest = min(longest, _LONGEST_WORD)
    return max(longest, *map(cell_len, column.title.split()))


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


def _table(columns: Sequence[Column], width: int) -> Grid:
    table = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP - 1, 0, 0), show_edge=False)
    for column, wide in zip(columns, _widths(columns, width), strict=True):
        justify: Literal["left", "right"] = "right" if column.numeric else "left"
        table.add_column(Text(column.title), justify=justify, overflow="fold", width=wide)
    for row in range(len(columns[0].cells)):
        table.add_row(*(Text(column.cells[row], style=_STYLES[column.tone(row)]) for column in columns))
    return table


def _blocks(columns: Sequence[Column]) -> Iterator[RenderableType]:
    """Draw a table that is too wide as a list: the name of a variant, and its values below."""
    names, *others = columns
    for at, name in enumerate(names.cells):
        yield Text(name, style="bold", overflow="fold")
        known = (f"{column.title} {column.cells[at]}" for column in others if column.cells[at])
        yield Padding(Text(", ".join(known), overflow="fold"), (0, 0, 0, 2), expand=False)


def _list(lines: Sequence[str]) -> Grid:
    listed = Grid.grid(padding=(0, 1))
    for line in lines:
        listed.add_row(Text("-"), Text(line, overflow="fold"))
    return listed


def _left_out(titles: Sequence[str]) -> list[str]:
    return [f"left out at this width: {', '.join(titles)}; `--format csv` has everything"] if titles else []


def _safe_column(column: Column) -> Column:
    """Return the column with its title and every cell made safe and cut to the length of a table cell."""
    title = safe_text(column.title, LONGEST_CELL)
    return replace(column, title=title, cells=tuple(safe_text(cell, LONGEST_CELL) for cell in column.cells))
