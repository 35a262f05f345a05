"""Read the files of a data set by their endings: CSV and TSV, JSON Lines, and Parquet.

CSV and TSV are read strictly: RFC 4180 quoting, one header, as many cells in every row.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from harness.data.tables import MISSING, Cell, NotCheckedError, Table, UnreadableError, decoded
from harness.foreign import open_regular

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


def read_jsonl(path: Path, wanted: Sequence[str]) -> Table:
    """Read the wanted keys of every object; skip blank lines.

    Raises:
        UnreadableError: a row is not a JSON object; the message names the file and the line.
    """
    names: dict[str, None] = {}
    columns: dict[str, list[object]] = {name: [] for name in wanted}
    lines: list[int] = []
    # Only "\n" ends a line: a JSON string may contain Unicode's other line separators unescaped.
    for number, line in enumerate(decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        row = _object(line, f"{path.name}:{number}")
        names.update(dict.fromkeys(row))
        lines.append(number)
        for name, column in columns.items():
            column.append(row.get(name, MISSING))
    present = {name: column for name, column in columns.items() if name in names}
    return Table(path.name, tuple(names), present, lines)


def _object(line: str, place: str) -> dict[str, object]:
    try:
        row = _DECODER.decode(line)
    except json.JSONDecodeError as error:
        raise UnreadableError(
            f"{place}: column {error.colno}: no JSON: {error.msg}; each line must be one JSON object"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{place}: cannot be read: {error}") from error
    if not isinstance(row, dict):
        kinds = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false"}
        found = kinds.get(type(row), "null")
        raise UnreadableError(f"{place}: expected a JSON object, found {found}; write one object a line")
    return row


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in row if names.count(name) > 1)
        raise ValueError(f"the key {repeated!r} occurs twice in one object")
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_without_duplicates)


def read_parquet(path: Path, wanted: Sequence[str]) -> Table:
    """Read the wanted columns of a Parquet file, with the class names that `datasets` stored in it.

    Raises:
        NotCheckedError: pyarrow is not installed.
        UnreadableError: the file cannot be read; the message gives the reason.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - only Parquet needs it, and a laptop may lack it
        import pyarrow.parquet as pq  # noqa: PLC0415 - as above
    except ImportError as error:
        raise NotCheckedError(f"{path.name}: pyarrow is not installed") from error
    try:
        # Given a path, pyarrow would open a named pipe and wait for a writer.
        with os.fdopen(open_regular(path), "rb") as opened, pq.ParquetFile(opened) as file:
            names = tuple(file.schema_arrow.names)
            present = [name for name in wanted if name in names]
            if repeated := [name for name in present if names.count(name) > 1]:
                raise UnreadableError(f"{path.name} has several columns {repeated[0]!r}")
            table = file.read(columns=present, use_threads=False)
            columns = {name: table.column(name).to_pylist() for name in present}
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UnreadableError(
            f"{path.name} cannot be read as Parquet: {reason}; get the file again"
        ) from error
    return Table(
        path.name,
        names,
        columns,
        range(1, table.num_rows + 1),
        class_names=_class_names(file.schema_arrow.metadata or {}, present),
    )


def _class_names(metadata: dict[bytes, bytes], columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the class names of `ClassLabel` columns from the features that `datasets` stores as metadata."""
    try:
        features: Any = json.loads(metadata[b"huggingface"])["info"]["features"]
        declared = {name: features.get(name) for name in columns}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
    return {
        name: tuple(map(str, feature["names"]))
        for name, feature in declared.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }
