"""Parse CSV and TSV files strictly: RFC 4180 quoting, one header, as many cells in every row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from harness.data.tables import MISSING, Cell, Table, UnreadableError, decoded

DELIMITERS: Final = {".csv": ",", ".tsv": "\t"}

Row = list[str | Cell]


def read_delimited(path: Path, wanted: Sequence[str]) -> Table:
    """Read the wanted columns of a CSV or TSV file.

    Every cell is text, including `NA`, `null` and `nan`. An empty cell is missing, but a quoted one, `""`, is
    an empty text.

    Raises:
        UnreadableError: a row cannot be parsed; the message names the file and the line.
    """
    rows = _rows(decoded(path), DELIMITERS[path.suffix], path.name)
    line, header = next(rows, (1, [MISSING]))
    names = tuple("" if name is MISSING else str(name) for name in header)
    for name in wanted:
        if names.count(name) > 1:
            raise UnreadableError(f"{path.name}:{line}: the header has {names.count(name)} columns {name!r}")
    places = {name: names.index(name) for name in wanted if name in names}
    columns: dict[str, list[object]] = {name: [] for name in places}
    lines: list[int] = []
    for line, row in rows:
        if len(row) != len(names):
            raise UnreadableError(
                f"{path.name}:{line}: expected {len(names)} cells, as in the header, found {len(row)}; put "
                "double quotes around a text that contains the delimiter or a line break"
            )
        lines.append(line)
        for name, place in places.items():
            columns[name].append(row[place])
    return Table(path.name, names, columns, lines, untyped=True)


def _rows(text: str, delimiter: str, file: str) -> Iterator[tuple[int, Row]]:
    """Yield each row that is not blank, with the line where it starts."""
    cell = re.compile(
        rf'(?:"(?P<quoted>[^"]*+(?:""[^"]*+)*+)"|(?P<plain>[^"{delimiter}\r\n][^{delimiter}\r\n]*+)?+)'
        rf"(?P<end>{delimiter}|\r\n|\n|\r|\Z)"
    )
    position, line, start = 0, 1, 1
    row: Row = []
    while position < len(text) or row:
        found = cell.match(text, position)
        if found is None:
            raise UnreadableError(
                f"{file}:{line}: column {len(row) + 1} starts with a double quote that does not end the "
                "cell; put double quotes around such a text and write each quote inside it twice"
            )
        quoted, plain, end = found.groups()
        if quoted is None:
            row.append(MISSING if plain is None else plain)
        else:
            row.append(quoted.replace('""', '"'))
            line += quoted.count("\n")
        position = found.end()
        if end == delimiter:
            continue
        if row != [MISSING]:
            yield start, row
        line += 1
        start, row = line, []
