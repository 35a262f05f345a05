"""Determine the classes of a data set from the labels of both splits or from names declared in its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.data.labels import Label, Seen
from harness.data.problems import Findings, kind_of, shown

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
