"""Settings of training that a suite gives and no trial uses: their variants would be equal trainings."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from harness.model.arguments import IGNORED, Ignored
from harness.model.axis import text
from harness.model.suite import Suite
from harness.suite.nodes import Entry, Mapping
from harness.suite.problems import Place, Problem
from harness.suite.selection import Selection

_OVERRIDE = "-s "


def unused_settings(root: Mapping, selection: Selection, suite: Suite) -> list[Problem]:
    """Return the settings under `train`, and the axes of the matrix, that have no effect on any trial.

    An override may take the effect from a value of the file, unless several variants become equal by it.

    Args:
        root: The suite as a tree, with its overrides.
        selection: The matrix and the includes of the suite.
        suite: The same suite, validated.
    """
    sections = {name: _entries(root, name) for name in ("train", "matrix")}
    found = []
    for key, entry in sections["train"].items():
        axis = sections["matrix"].get(f"train.{key}")
        if axis is not None and not _gives_way(entry, axis):
            what = f"train.{key} has no effect: the matrix has the axis train.{key}"
            found.append(Problem(entry.place, what))
    for rule in IGNORED:
        found += _ignored(rule, sections["train"] | _settings_in(sections["matrix"]), selection, suite)
    return found


def _ignored(
    rule: Ignored, entries: dict[str, Entry], selection: Selection, suite: Suite
) -> Iterator[Problem]:
    entry, by = entries.get(rule.setting), entries.get(rule.by)
    deciding = _values(rule.by, selection, suite)
    if entry is None or not all(map(rule.ignores, deciding)):
        return
    one_value = len(_values(rule.setting, selection, suite)) == 1
    if not (one_value and by is not None and _gives_way(entry, by)):
        values = " and ".join(map(text, deciding))
        yield Problem(entry.place, f"{rule.setting} has no effect with {rule.by} {values}: {rule.why}")


def _values(setting: str, selection: Selection, suite: Suite) -> Sequence[Hashable]:
    """Return the values that a setting takes in the trials of a suite, each once."""
    name = f"train.{setting}"
    plain: tuple[Hashable, ...] = selection.axes.get(name) or (getattr(suite.train, setting),)
    included = (chosen[name] for _, chosen in selection.include if name in chosen)
    return list(dict.fromkeys([*plain, *included]))


def _gives_way(entry: Entry, other: Entry) -> bool:
    """Return whether an override replaced a value of the file."""
    return _is_override(other.place) and not _is_override(entry.place)


def _is_override(place: Place) -> bool:
    return place.source.startswith(_OVERRIDE)


def _entries(root: Mapping, section: str) -> dict[str, Entry]:
    node = root.entries[section].node if section in root.entries else None
    return dict(node.entries) if isinstance(node, Mapping) else {}


def _settings_in(matrix: dict[str, Entry]) -> dict[str, Entry]:
    axes = {name.removeprefix("train."): entry for name, entry in matrix.items()}
    return {name: entry for name, entry in axes.items() if f"train.{name}" in matrix}
