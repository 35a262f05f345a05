"""Read JSON Lines files, with one object per line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from harness.data.tables import MISSING, Table, UnreadableError, decoded


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
