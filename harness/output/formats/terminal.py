"""A document as a terminal shows it: the table a person reads at a glance, and short notes below it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
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
                yield _Lines(shown, options.max_width)
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


class _Lines:
    """A table with a line below its titles, written row by row: rich measures every cell of its own twice."""

    def __init__(self, columns: Sequence[Column], width: int) -> None:
        self._columns = columns
        self._widths = _widths(columns, width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Titles, the line, and the cells, which wrap within their columns."""
        bold = console.get_style("table.header")
        yield from self._row(console, [(column.title, bold) for column in self._columns], low=True)
        rule = "-" if options.ascii_only else "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
        yield from (Segment(rule * (sum(self._widths) + _GAP * (len(self._widths) - 1))), Segment.line())
        styles = {tone: console.get_style(style) for tone, style in _STYLES.items()}
        for row in range(len(self._columns[0].cells)):
            cells = [(column.cells[row], styles[column.tone(row)]) for column in self._columns]
            yield from self._row(console, cells)

    def _row(
        self, console: Console, cells: Sequence[tuple[str, Style]], *, low: bool = False
    ) -> Iterator[Segment]:
        """Write the lines of a row; a cell of fewer lines than another begins at the first, or ends `low`."""
        wrapped = [
            [text] if cell_len(text) <= wide else _wrapped(console, text, wide)
            for (text, _), wide in zip(cells, self._widths, strict=True)
        ]
        lines = max(map(len, wrapped))
        above = [lines - len(cell) if low else 0 for cell in wrapped]
        for line in range(lines):
            for place, (column, wide) in enumerate(zip(self._columns, self._widths, strict=True)):
                at = line - above[place]
                text = wrapped[place][at] if 0 <= at < len(wrapped[place]) else ""
                room = " " * (wide - cell_len(text))
                gap = " " * (_GAP if place else 0)
                yield Segment(f"{gap}{room}" if column.numeric else gap)
                yield Segment(text, cells[place][1])
                yield Segment("" if column.numeric else room)
            yield Segment.line()


def _wrapped(console: Console, text: str, width: int) -> list[str]:
    return [line.plain.rstrip() for line in Text(text).wrap(console, width, overflow="fold")]


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
