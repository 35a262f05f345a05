"""Read the label column of a split: every cell is a class id, an integer from 0, or a class name."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

from harness.data.problems import Findings, encodable, kind_of, place, shown
from harness.data.tables import Table

_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SINGLE: Final = struct.Struct("f")
_LARGEST: Final = (2 - 2**-23) * 2.0**127
_FIX: Final = "a label must be an integer class id or the name of a class"

Label = int | str


@dataclass(frozen=True, slots=True)
class Seen:
    """A distinct label of a split: the place of its first row, and its number of rows."""

    place: str
    rows: int


def read_labels(tables: Sequence[Table], column: str, problems: list[str]) -> list[Label]:
    """Return the labels of a split; add cells that are neither a class id nor a name to `problems`."""
    labels: list[Label] = []
    found = Findings(column)
    for table in tables:
        for at, value in enumerate(table.columns[column]):
            label = _typed(value) if table.untyped else value
            if _is_label(label):
                labels.append(label)
            else:
                kind, what = _rejected(label, value)
                found.add(kind, place(table, at), what)
    problems.extend(found)
    return labels


def read_targets(tables: Sequence[Table], column: str, problems: list[str]) -> list[float]:
    """Return the numbers of a regression in single precision; add other cells to `problems`."""
    targets: list[float] = []
    found = Findings(column)
    for table in tables:
        for at, value in enumerate(table.columns[column]):
            number = _typed(value) if table.untyped else value
            if isinstance(number, int | float) and not isinstance(number, bool) and _is_finite(number):
                # Files with 3.8 as text and as a 32-bit number have the same target.
                targets.append(_SINGLE.unpack(_SINGLE.pack(number))[0])
            else:
                what = shown(value) if isinstance(value, str | float) else kind_of(value)
                found.add(what, place(table, at), f"the target is {what}; regression needs a finite number")
    problems.extend(found)
    return targets


def _is_finite(number: float) -> bool:
    return abs(number) <= _LARGEST


def distinct(tables: Sequence[Table], labels: Sequence[Label]) -> dict[Label, Seen]:
    """Return each distinct label of a split; `labels` has one entry for each row of the tables."""
    places = ((table, at) for table in tables for at in range(len(table.rows)))
    first: dict[Label, tuple[Table, int]] = {}
    rows: dict[Label, int] = {}
    for label, where in zip(labels, places, strict=True):
        first.setdefault(label, where)
        rows[label] = rows.get(label, 0) + 1
    return {label: Seen(place(*where), rows[label]) for label, where in first.items()}


def _is_label(value: object) -> TypeGuard[Label]:
    # bool is a subclass of int.
    if type(value) is int:
        return value >= 0
    return isinstance(value, str) and bool(value) and value == value.strip() and encodable(value)


def _typed(value: object) -> object:
    """Convert a cell of an untyped file to a class id or a float if it is written as one."""
    if not isinstance(value, str):
        return value
    if _INTEGER.fullmatch(value):
        return int(value)
    return float(value) if _NUMBER.fullmatch(value) else value


def _rejected(label: object, written: object) -> tuple[str, str]:
    """Return the kind of problem with a label, and a sentence about it."""
    if type(label) is int:
        return "negative", f"the label {label} is negative; {_FIX}, and -1 often marks rows without a label"
    if isinstance(label, float):
        return (
            "float",
            f"the label {shown(written)} is no integer; {_FIX}; for regression set task.kind: regression",
        )
    if isinstance(label, str) and not label.strip():
        return "empty", f"the label is an empty text; {_FIX}"
    if isinstance(label, str) and not encodable(label):
        return (
            "surrogate",
            f"the label {shown(label)} contains half a surrogate pair; write the whole character",
        )
    if isinstance(label, str):
        return "spaces", f"the label {shown(label.strip())} has white space around it; remove it"
    what = kind_of(label)
    several = "; several labels an example are not supported" if isinstance(label, list | tuple) else ""
    return what, f"the label is {what}; {_FIX}{several}"
