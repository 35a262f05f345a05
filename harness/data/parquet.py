"""Read Parquet files with pyarrow, if it is installed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.data.tables import NotCheckedError, Table, UnreadableError
from harness.foreign import open_regular


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
