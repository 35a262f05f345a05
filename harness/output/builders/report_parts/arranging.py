"""The rows and columns of a report's main table, as a reader asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from harness.analysis.rows import Row, Tokenizing
from harness.analysis.summary import PEAK_MEMORY
from harness.errors import InvalidInputError
from harness.model.metrics import METRICS, metric_named
from harness.model.tasks import further_scores
from harness.output.builders.report_parts.remarks import status
from harness.output.document import Column, Table
from harness.words import did_you_mean, quoted

_FIELDS: Final = {
    "train_real_tokens_per_second": "real_tokens_per_second",
    "padding_efficiency": "padding_efficiency",
    "train_seconds": "train_seconds",
    "model_flops_utilization": "model_flops_utilization",
}
_OF_TOKENIZING: Final[dict[str, Callable[[Tokenizing], float | None]]] = {
    "tokenize_seconds": lambda found: found.seconds,
    "tokenize_examples_per_second": lambda found: found.examples_per_second,
    "tokenize_tokens_per_second": lambda found: found.tokens_per_second,
    "tokenize_memory_bytes": lambda found: found.added_memory_bytes,
}


def with_columns(table: Table, names: Sequence[str]) -> Table:
    """Return a table with these columns in this order, after the first, and a note of those hidden.

    Raises:
        InvalidInputError: A column does not exist.
    """
    first, *others = table.columns
    by_name = {column.title.casefold(): column for column in table.columns}
    chosen = [by_name[_known("--columns", name, table.columns)] for name in names]
    shown = [first, *(column for column in dict.fromkeys(chosen) if column is not first)]
    hidden = [column.title for column in others if column not in shown]
    note = (f"hidden: {', '.join(hidden)}; --columns shows them",) if hidden else ()
    kept = tuple(replace(column, dispensable=False) for column in shown)
    return replace(table, columns=kept, notes=(*table.notes, *note))


def sorted_rows(rows: Sequence[Row], name: str, columns: Sequence[Column]) -> tuple[Row, ...]:
    """Return the rows by the values of a column: the best first, words by alphabet, unmeasured last.

    Raises:
        InvalidInputError: The column does not exist, or has no order.
    """
    wanted = _known("--sort", name, columns)
    if wanted == "variant":
        return tuple(sorted(rows, key=lambda row: row.label))
    if wanted == "status":
        return tuple(sorted(rows, key=status))
    tokenizing = any(row.tokenizing is not None for row in rows)
    further = further_scores(row.trial.task for row in rows)
    named = [one for one in (*METRICS, *further) if metric_named(one).label.casefold() == wanted]
    # Training and tokenizing share the label of their rates.
    metric = next((one for one in named if (one in _OF_TOKENIZING) == tokenizing), None)
    if metric is None:
        raise InvalidInputError(
            f"--sort {quoted(name)}: this column has no order", hint="Sort by variant, status or a number."
        )
    sign = -1.0 if metric_named(metric).goal == "max" else 1.0

    def key(row: Row) -> tuple[bool, float]:
        value = _value(row, metric)
        return value is None, 0.0 if value is None else sign * value

    return tuple(sorted(rows, key=key))


def _value(row: Row, metric: str) -> float | None:
    if (found := row.quality.get(metric)) is not None:
        return found.mean
    if metric in _OF_TOKENIZING:
        return None if row.tokenizing is None else _OF_TOKENIZING[metric](row.tokenizing)
    if metric in PEAK_MEMORY.values():
        of = row.peak_memory_of
        return row.peak_memory_bytes if of is not None and PEAK_MEMORY[of] == metric else None
    value: float | None = getattr(row, _FIELDS[metric]) if metric in _FIELDS else None
    return value


def _known(option: str, name: str, columns: Sequence[Column]) -> str:
    """Return the folded title of the column of this name."""
    titles = [column.title for column in columns]
    folded = name.strip().casefold()
    if folded not in (title.casefold() for title in titles):
        raise InvalidInputError(
            f"{option}: no column {quoted(name.strip())}{did_you_mean(folded, titles)}",
            hint=f"The columns are {', '.join(titles)}.",
        )
    return folded
