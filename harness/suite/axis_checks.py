"""Rules between axes: combinations that cannot run, and axes without effect on trials that only tokenize."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from collections.abc import Sequence as Many

from harness.errors import InvalidInputError
from harness.model.axis import Axis, breaks, used_axes, written
from harness.suite.nodes import Entry, Sequence
from harness.suite.nodes import Mapping as Tree
from harness.suite.problems import Problem

# A suite with this axis measures tokenizing and trains nothing.
TOKENIZATION = "tokenization"


def unused_axes(root: Tree, axes: Mapping[str, Axis]) -> list[Problem]:
    """Return the axes and settings of training in a suite that tokenizes, or the reverse."""
    tokenizing = used_axes(axes, tokenizing=True)
    if TOKENIZATION not in _axes_in(root, "matrix"):
        training = used_axes(axes, tokenizing=False)
        return [
            Problem(
                entry.place,
                f"{name} needs the axis {TOKENIZATION} in matrix: training uses fast tokenizers",
            )
            for name, entry in _mentioned(root)
            if name in axes and name not in training
        ]
    why = f"has no effect with {TOKENIZATION}, which trains nothing (axes: {', '.join(tokenizing)})"
    found = [
        Problem(entry.place, f"{name} {why}")
        for name, entry in _mentioned(root)
        if name in axes and name not in tokenizing
    ]
    if "train" in root.entries:
        found.append(Problem(root.entries["train"].place, f"train {why}"))
    return found


def _mentioned(root: Tree) -> Iterator[tuple[str, Entry]]:
    """Yield each axis in the matrix, an include or an exclude, with its position."""
    yield from _axes_in(root, "matrix").items()
    for key in ("include", "exclude"):
        if key in root.entries and isinstance(entries := root.entries[key].node, Sequence):
            for item in entries.items:
                if isinstance(item, Tree):
                    yield from item.entries.items()


def _axes_in(root: Tree, key: str) -> dict[str, Entry]:
    node = root.entries[key].node if key in root.entries else None
    return dict(node.entries) if isinstance(node, Tree) else {}


def refuse_broken_rules(
    name: str,
    conditions: Many[Mapping[str, Hashable]],
    axes: Mapping[str, Axis],
    train: dict[str, Hashable],
) -> None:
    """Raise for the first declared rule that a condition violates.

    Args:
        name: The name of the suite, for the error message.
        conditions: A canonical value for every axis of a trial that has one.
        axes: The axes with their rules.
        train: The value of each setting of training that a condition leaves out, as `train.optim`.

    Raises:
        InvalidInputError: With the value to use instead, or the exclude to add.
    """
    for axis, rule in ((each, rule) for each in axes.values() for rule in each.rules):
        broken = dict.fromkeys(
            (each[axis.name], each[rule.axis])
            for each in (train | dict(condition) for condition in conditions)
            if axis.name in each and rule.axis in each and breaks(rule, each[axis.name], each[rule.axis])
        )
        if broken:
            pairs = [(_in_flow_style(value), _in_flow_style(other)) for value, other in broken]
            excludes = ", ".join(f"{{{rule.axis}: {other}, {axis.name}: {value}}}" for value, other in pairs)
            others = ", ".join(dict.fromkeys(other for _, other in pairs))
            raise InvalidInputError(
                f"suite {name}: {axis.name} {pairs[0][0]} with {rule.axis} {others}: {rule.why}",
                hint=f"Use {rule.instead}, or exclude it: exclude: [{excludes}]",
            )


def _in_flow_style(value: Hashable) -> str:
    """Return the value in YAML flow style, as inside braces."""
    given = written(value)
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, dict):
        return f"{{{', '.join(f'{key}: {each}' for key, each in given.items())}}}"
    # In flow style a word with a colon has to be quoted.
    return f"'{given}'" if ":" in str(given) else str(given)
