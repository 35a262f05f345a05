"""Settings of training that a suite gives and no trial uses: their variants would be equal trainings."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from harness.model.arguments import IGNORED, Ignored
from harness.model.axis import text
from harness.model.suite import Suite
from harness.suite.nodes import Entry, Mapping
from harness.suite.problems import Problem
from harness.suite.selection import Selection

_OVERRIDE = "-s "


def unused_settings(root: Mapping, selection: Selection, suite: Suite) -> list[Problem]:
    """Return the settings of training that have no effect on any trial and seem to have one.

    These are keys of `train` that an override gives beside the axis of their name, and axes whose values all
    give one training. A single value that another setting makes useless is no mistake: the epochs
    of a suite that `-s train.max_steps=5` cuts short.

    Args:
        root: The suite as a tree, with its overrides.
        selection: The matrix and the includes of the suite.
        suite: The same suite, validated.
    """
    given, axes = _entries(root, "train"), _entries(root, "matrix")
    found = []
    for key, entry in given.items():
        if f"train.{key}" in axes and entry.place.source.startswith(_OVERRIDE):
            what = f"train.{key} has no effect: the matrix has the axis train.{key}"
            found.append(Problem(entry.place, what))
    for rule in IGNORED:
        if (axis := axes.get(f"train.{rule.setting}")) is not None:
            found += _ignored(rule, axis, selection, suite)
    return found


def _ignored(rule: Ignored, entry: Entry, selection: Selection, suite: Suite) -> Iterator[Problem]:
    deciding = _values(rule.by, selection, suite)
    if len(_values(rule.setting, selection, suite)) > 1 and all(map(rule.ignores, deciding)):
        values = " and ".join(map(text, deciding))
        what = f"{rule.setting} has no effect with {rule.by} {values}: {rule.why}"
        yield Problem(entry.place, f"{what}, so that its variants are one training")


def _values(setting: str, selection: Selection, suite: Suite) -> Sequence[Hashable]:
    """Return the values that a setting takes in the trials of a suite, each once."""
    name = f"train.{setting}"
    plain: tuple[Hashable, ...] = selection.axes.get(name) or (getattr(suite.train, setting),)
    included = (chosen[name] for _, chosen in selection.include if name in chosen)
    return list(dict.fromkeys([*plain, *included]))


def _entries(root: Mapping, section: str) -> dict[str, Entry]:
    node = root.entries[section].node if section in root.entries else None
    return dict(node.entries) if isinstance(node, Mapping) else {}
