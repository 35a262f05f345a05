"""Read the matrix, `include` and `exclude` of a suite into canonical values with positions."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from harness.model.axis import Axis, axes_of, canonical, mapping_type, short_type
from harness.model.trial import Trial
from harness.suite.names import suggestion, unsupported_argument
from harness.suite.nodes import Mapping, Node, Sequence, described, plain
from harness.suite.problems import Place, Problem
from harness.suite.validation import problems_of
from harness.words import quoted

ANY_DEVICE: Final = frozenset({"auto", "all"})

Axes = dict[str, tuple[Hashable, ...]]
Chosen = dict[str, Hashable]


@dataclass(frozen=True, slots=True)
class Selection:
    """The matrix, includes and excludes of a suite in canonical form, each entry with its position."""

    place: Place
    axes: Axes
    include: list[tuple[Place, Chosen]]
    exclude: list[tuple[Place, Chosen]]

    @property
    def values(self) -> dict[str, Any]:
        """The selection as keys of a suite, with canonical values."""
        return {
            "matrix": self.axes,
            "include": tuple(chosen for _, chosen in self.include),
            "exclude": tuple(chosen for _, chosen in self.exclude),
        }


def read_selection(root: Mapping, trial: type[Trial], problems: list[Problem]) -> Selection | None:
    """Return the matrix, include and exclude of a suite, or None without a matrix."""
    nodes = {key: root.entries[key].node for key in ("matrix", "include", "exclude") if key in root.entries}
    reader = _Reader(trial, problems)
    include, exclude = (reader.entries(key, nodes.get(key)) for key in ("include", "exclude"))
    if "matrix" not in nodes:
        return None
    return Selection(nodes["matrix"].place, reader.axes(nodes["matrix"]), include, exclude)


class _Reader:
    """Read values of the axes of a trial model; add invalid ones to `problems`."""

    def __init__(self, trial: type[Trial], problems: list[Problem]) -> None:
        self._trial, self._axes, self._problems = trial, axes_of(trial), problems

    def axes(self, node: Node) -> Axes:
        """Return the values of each axis of a matrix."""
        if not isinstance(node, Mapping):
            self._refuse(node.place, f"matrix must be a mapping of axes; found {described(node)}")
            return {}
        found: Axes = {}
        for name, entry in node.entries.items():
            if name not in self._axes:
                self._unknown(name, entry.place)
            else:
                found[name] = self._values(self._axes[name], entry.node)
        self._problems.extend(
            Problem(node.place, f"the axis {name} is missing in matrix")
            for name, axis in self._axes.items()
            if axis.required and name not in node.entries
        )
        return found

    def _values(self, axis: Axis, node: Node) -> tuple[Hashable, ...]:
        if not isinstance(node, Sequence):
            what = f"the axis {axis.name} must be a list; found {described(node)} (a list of one is [value])"
            self._refuse(node.place, what)
            return ()
        if not node.items:
            self._refuse(node.place, f"the axis {axis.name} is empty; it needs at least one value")
        seen: dict[Hashable, Place] = {}
        for item in node.items:
            value = self._value(axis, item)
            if value is not None and value in seen:
                where = f", in line {seen[value].line} already" if seen[value].line else ""
                self._problems.append(
                    Problem(item.place, f"{quoted(str(value))} again on the axis {axis.name}{where}")
                )
            elif value is not None:
                seen[value] = item.place
        return tuple(seen)

    def _value(self, axis: Axis, node: Node) -> Hashable | None:
        """Return the canonical value, or None after reporting a problem."""
        mapping = mapping_type(axis)
        try:
            return canonical(axis, plain(node))
        except ValidationError as error:
            as_mapping = mapping if isinstance(node, Mapping) else None
            schema = (as_mapping or short_type(axis)).json_schema()
            found = problems_of(error, node, schema, axis.name)
        if as_mapping is None and mapping is not None:
            found = [Problem(problem.place, f"{problem.what} (or a mapping)") for problem in found]
        self._problems.extend(found)
        return None

    def entries(self, key: str, node: Node | None) -> list[tuple[Place, Chosen]]:
        """Return the entries of `include` or `exclude` that have no problem."""
        if node is None:
            return []
        if not isinstance(node, Sequence):
            self._refuse(node.place, f"{key} must be a list of mappings; found {described(node)}")
            return []
        entries = []
        for item in node.items:
            if not isinstance(item, Mapping) or not item.entries:
                found = "an empty mapping" if isinstance(item, Mapping) else described(item)
                rule = f"each entry of {key} is a mapping of axes to one value each"
                self._refuse(item.place, f"{rule}; found {found}")
            elif (chosen := self._entry(key, item)) is not None:
                entries.append((item.place, chosen))
        return entries

    def _entry(self, key: str, node: Mapping) -> Chosen | None:
        before = len(self._problems)
        chosen: Chosen = {}
        for name, entry in node.entries.items():
            if name not in self._axes:
                self._unknown(name, entry.place)
            elif isinstance(entry.node, Sequence):
                self._refuse(entry.node.place, f"{name} takes one value in {key}, not a list")
            elif (value := self._value(self._axes[name], entry.node)) is not None:
                chosen[name] = value
                if key == "exclude" and value == "all":
                    what = (
                        "device: all excludes nothing in particular; leave device out to exclude all of them"
                    )
                    self._refuse(entry.node.place, what)
        return chosen if len(self._problems) == before else None

    def _refuse(self, place: Place, what: str) -> None:
        self._problems.append(Problem(place, what))

    def _unknown(self, name: str, place: Place) -> None:
        section, _, key = name.rpartition(".")
        unknown = f"unknown axis {quoted(name)}{suggestion(name, list(self._axes), self._trial)}"
        what = unsupported_argument(key, section) or unknown
        self._refuse(place, what)


def without_effect(selection: Selection, default: Callable[[str], Hashable]) -> list[Problem]:
    """Return the includes and excludes that have no effect on any machine.

    Args:
        selection: The matrix, includes and excludes of the suite.
        default: Returns the canonical value of an axis that the matrix leaves out.
    """

    def values(axis: str) -> tuple[Hashable, ...]:
        return selection.axes.get(axis) or (default(axis),)

    def may_occur(axis: str, value: Hashable) -> bool:
        here = ANY_DEVICE if axis == "device" else frozenset()
        return value in values(axis) or value in here or not here.isdisjoint(values(axis))

    found = [
        Problem(place, f"this exclude matches no trial: {axis} is never {quoted(str(value))} in the matrix")
        for place, excluded in selection.exclude
        for axis, value in excluded.items()
        if not may_occur(axis, value)
    ]
    for place, included in selection.include:
        known = all(value in values(axis) for axis, value in included.items())
        if known and not any(_overlap(included, excluded) for _, excluded in selection.exclude):
            found.append(
                Problem(place, "this include adds nothing: the matrix contains these trials already")
            )
    return found


def _overlap(included: Chosen, excluded: Chosen) -> bool:
    """Return whether a trial can match both, so that the include can add excluded trials again."""
    return all(included[axis] == value for axis, value in excluded.items() if axis in included)
