"""What a suite that compares ways of tokenising may hold: its trials train nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.suite.axes import AXES
from harness.suite.nodes import Entry, Mapping, Sequence
from harness.suite.problems import Problem

# All that such a trial looks at; everything else would be an axis of trials that differ in nothing.
_LOOKED_AT: Final = ("checkpoint", "tokenization", "tokenizer", "seed")
_OF_TOKENIZING: Final = ("tokenization", "tokenizer")


def tokenizing_problems(root: Mapping) -> list[Problem]:
    """Axes and settings of training beside an axis `tokenization`, or `tokenizer` without one."""
    if "tokenization" not in _axes_of(root, "matrix"):
        return [
            Problem(entry.place, f"{name} needs the axis tokenization in matrix: training takes fast ones")
            for name, entry in _mentioned(root)
            if name in _OF_TOKENIZING
        ]
    why = f"has no effect beside tokenization, which trains nothing (axes: {', '.join(_LOOKED_AT)})"
    found = [
        Problem(entry.place, f"{name} {why}")
        for name, entry in _mentioned(root)
        if name in AXES and name not in _LOOKED_AT
    ]
    if "train" in root.entries:
        found.append(Problem(root.entries["train"].place, f"train {why}"))
    return found


def _mentioned(root: Mapping) -> Iterator[tuple[str, Entry]]:
    """Every axis that the matrix, an include or an exclude names, with where it does."""
    yield from _axes_of(root, "matrix").items()
    for key in ("include", "exclude"):
        if key in root.entries and isinstance(entries := root.entries[key].node, Sequence):
            for item in entries.items:
                if isinstance(item, Mapping):
                    yield from item.entries.items()


def _axes_of(root: Mapping, key: str) -> dict[str, Entry]:
    node = root.entries[key].node if key in root.entries else None
    return dict(node.entries) if isinstance(node, Mapping) else {}
