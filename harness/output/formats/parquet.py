"""The records of a document as a Parquet file: one row a trial, with the columns of the CSV format."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from harness.errors import UnavailableError
from harness.output.document import Document, Value


def to_parquet(document: Document) -> bytes:
    """Return the file. A column of numbers that no row has is one of missing numbers.

    Raises:
        UnavailableError: pyarrow is not installed.
    """
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise UnavailableError(
            "a Parquet file needs pyarrow, which is not installed",
            hint="Install pyarrow, or the extra `train` of harness, which has it; or write CSV: -o x.csv.",
        ) from None
    table = arrow.table({name: _array(arrow, cells) for name, cells in _columns(document.records).items()})
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def _columns(records: Iterable[Mapping[str, Value]]) -> dict[str, list[Value]]:
    """Return the cells of every column that some record has."""
    rows = list(records)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _array(arrow: Any, cells: list[Value]) -> Any:
    kinds = {type(cell) for cell in cells if cell is not None}
    if not kinds:
        return arrow.array(cells, arrow.float64())
    if kinds <= {int, float} and float in kinds:
        return arrow.array([None if cell is None else float(cell) for cell in cells], arrow.float64())
    # Seeds of a run can be numbers and words.
    return arrow.array(cells if len(kinds) == 1 else [None if cell is None else str(cell) for cell in cells])
