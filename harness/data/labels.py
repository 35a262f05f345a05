"""Labels of a split, class ids or names, and the classes of a data set that follow from them."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeGuard

from harness.data.data_problems import Findings, encodable, kind_of, place, shown
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


Labels = Mapping[Label, Seen]


@dataclass(frozen=True, slots=True)
class Classes:
    """The names of the classes, and the class index, from 0, of each label."""

    names: tuple[str, ...]
    ids: Mapping[Label, int]


def classes_of(
    column: str, train: Labels, evaluation: Labels, declared: Sequence[str], most: int
) -> tuple[Classes, list[str]]:
    """Return the classes of a data set, and their problems.

    Without declared names the classes are the sorted labels of the training split: class ids without gaps, so
    that 1 to 5 are five classes, or names.

    Args:
        column: the label column, for messages.
        train: the distinct labels of the training split, at least one.
        evaluation: the distinct labels of the evaluation split.
        declared: the names of the classes from 0, or none.
        most: the maximum number of classes.
    """
    if (mixed := _mixed(column, [*train.items(), *evaluation.items()])) is not None:
        return Classes((), {}), [mixed]
    ordered: list[Label] = sorted(
        train, key=lambda label: (label if isinstance(label, int) else 0, str(label))
    )
    if not declared:
        classes = Classes(tuple(map(str, ordered)), {label: at for at, label in enumerate(ordered)})
        problems = _gap(column, ordered, train)
    else:
        named = isinstance(ordered[0], str)
        classes = Classes(tuple(declared), {name if named else at: at for at, name in enumerate(declared)})
        problems = _undeclared(column, classes, {**evaluation, **train})
    return classes, [
        *_number(column, classes.names, most),
        *problems,
        *_single(column, train),
        *_unseen(column, train, evaluation),
    ]


def _mixed(column: str, labels: Sequence[tuple[Label, Seen]]) -> str | None:
    norm, first = labels[0]
    for label, one in labels:
        if type(label) is not type(norm):
            return (
                f"{one.place}: column {column!r}: the label is {kind_of(label)} but {kind_of(norm)} at "
                f"{first.place}; use class ids or names, not both"
            )
    return None


def _number(column: str, names: Sequence[str], most: int) -> list[str]:
    if len(names) <= most:
        return []
    return [
        f"column {column!r} has {len(names):,} classes, such as {shown(names[0])} and {shown(names[-1])}; "
        f"at most {most:,} are accepted: name the right label column, or raise task.max_classes"
    ]


def _gap(column: str, ordered: Sequence[Label], train: Labels) -> list[str]:
    for before, after in pairwise(ordered):
        if isinstance(before, int) and isinstance(after, int) and after != before + 1:
            return [
                f"{train[after].place}: column {column!r}: the label {after} leaves a gap after {before}; "
                "number the classes without gaps, or write their names"
            ]
    return []


def _undeclared(column: str, classes: Classes, labels: Labels) -> list[str]:
    found = Findings(column)
    for label, one in labels.items():
        if label not in classes.ids:
            names = ", ".join(classes.names[:8])
            what = (
                f"the label {shown(label)} is none of the data set's {len(classes.names)} classes ({names})"
            )
            found.add("undeclared", one.place, f"{what}; get the file again", one.rows)
    return list(found)


def _single(column: str, train: Labels) -> list[str]:
    if len(train) > 1:
        return []
    ((label, one),) = train.items()
    return [
        f"{one.place}: column {column!r}: {shown(label)} is the single value of the training split; "
        "classification needs two classes"
    ]


def _unseen(column: str, train: Labels, evaluation: Labels) -> list[str]:
    found = Findings(column)
    for label, one in evaluation.items():
        if label not in train:
            what = f"the label {shown(label)} is not in the training split"
            found.add("unseen", one.place, f"{what}; add training rows with it, or remove these", one.rows)
    return list(found)
