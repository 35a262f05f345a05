"""Read the matrix, `include` and `exclude` of a suite, and check each value against its axis."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from harness.suite.axes import AXES, REQUIRED, canonical, mapping_type, short_type
from harness.suite.names import suggestion
from harness.suite.nodes import Mapping, Node, Sequence, described, plain
from harness.suite.problems import Place, Problem
from harness.suite.validation import problems_of
from harness.words import quoted

ANY_DEVICE: Final = frozenset({"auto", "all"})

EMPTY_SELECTION: Final[dict[str, object]] = {"matrix": {}, "include": (), "exclude": ()}

Axes = dict[str, tuple[Hashable, ...]]
Chosen = dict[str, Hashable]


@dataclass(frozen=True, slots=True)
class Selection:
    """The trials that a suite selects, in canonical form; each entry has its position."""

    place: Place
    axes: Axes
    include: list[tuple[Place, Chosen]]
    exclude: list[tuple[Place, Chosen]]


def read_selection(root: Mapping, problems: list[Problem]) -> Selection | None:
    """Read the suite's matrix, include and exclude; return None without a matrix."""
    nodes = {key: root.entries[key].node for key in EMPTY_SELECTION if key in root.entries}
    include, exclude = (_entries(key, nodes.get(key), problems) for key in ("include", "exclude"))
    if "matrix" not in nodes:
        return None
    return Selection(nodes["matrix"].place, _axes(nodes["matrix"], problems), include, exclude)


def _axes(node: Node, problems: list[Problem]) -> Axes:
    if not isinstance(node, Mapping):
        problems.append(Problem(node.place, f"matrix must be a mapping of axes; found {described(node)}"))
        return {}
    axes: Axes = {}
    for name, entry in node.entries.items():
        if name not in AXES:
            problems.append(
                Problem(entry.place, f"unknown axis {quoted(name)}{suggestion(name, list(AXES))}")
            )
        else:
            axes[name] = _values(name, entry.node, problems)
    problems.extend(
        Problem(node.place, f"the axis {name} is missing in matrix")
        for name in REQUIRED
        if name not in node.entries
    )
    return axes


def _values(axis: str, node: Node, problems: list[Problem]) -> tuple[Hashable, ...]:
    if not isinstance(node, Sequence):
        what = f"the axis {axis} must be a list; found {described(node)} (a list of one is [value])"
        problems.append(Problem(node.place, what))
        return ()
    if not node.items:
        problems.append(Problem(node.place, f"the axis {axis} is empty; it needs at least one value"))
    seen: dict[Hashable, Place] = {}
    for item in node.items:
        value = _value(axis, item, problems)
        if value is not None and value in seen:
            where = f", in line {seen[value].line} already" if seen[value].line else ""
            problems.append(Problem(item.place, f"{quoted(str(value))} again on the axis {axis}{where}"))
        elif value is not None:
            seen[value] = item.place
    return tuple(seen)


def _value(axis: str, node: Node, problems: list[Problem]) -> Hashable | None:
    """Return the canonical value, or None after adding a problem."""
    mapping = mapping_type(axis)
    written = plain(node)
    try:
        return canonical(axis, written)
    except ValidationError as error:
        as_mapping = mapping if isinstance(node, Mapping) else None
        schema = (as_mapping or short_type(axis)).json_schema()
        found = problems_of(error, node, schema, axis)
    if as_mapping is None and mapping is not None:
        found = [Problem(problem.place, f"{problem.what} (a mapping is possible too)") for problem in found]
    problems.extend(found)
    return None


def _entries(key: str, node: Node | None, problems: list[Problem]) -> list[tuple[Place, Chosen]]:
    if node is None:
        return []
    if not isinstance(node, Sequence):
        problems.append(Problem(node.place, f"{key} must be a list of mappings; found {described(node)}"))
        return []
    entries = []
    for item in node.items:
        if not isinstance(item, Mapping) or not item.entries:
            found = "an empty mapping" if isinstance(item, Mapping) else described(item)
            rule = f"each entry of {key} is a mapping of axes to one value each"
            problems.append(Problem(item.place, f"{rule}; found {found}"))
        elif (chosen := _entry(key, item, problems)) is not None:
            entries.append((item.place, chosen))
    return entries


def _entry(key: str, node: Mapping, problems: list[Problem]) -> Chosen | None:
    before = len(problems)
    chosen: Chosen = {}
    for name, entry in node.entries.items():
        if name not in AXES:
            problems.append(
                Problem(entry.place, f"unknown axis {quoted(name)}{suggestion(name, list(AXES))}")
            )
        elif isinstance(entry.node, Sequence):
            problems.append(Problem(entry.node.place, f"{name} takes one value in {key}, not a list"))
        elif (value := _value(name, entry.node, problems)) is not None:
            chosen[name] = value
            if key == "exclude" and value == "all":
                what = "device: all excludes nothing in particular; leave device out to exclude all of them"
                problems.append(Problem(entry.node.place, what))
    return chosen if len(problems) == before else None


def without_effect(selection: Selection, default: Callable[[str], Hashable]) -> list[Problem]:
    """Return a problem for each entry that has no effect on any machine.

    Args:
        selection: The trials that the suite selects.
        default: Returns the canonical value of an axis that the matrix omits.
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
                Problem(place, "this include adds nothing: the matrix already contains these trials")
            )
    return found


def _overlap(included: Chosen, excluded: Chosen) -> bool:
    """Return whether some trial may match both: then the include may restore an excluded trial."""
    return all(included[axis] == value for axis, value in excluded.items() if axis in included)
