"""Nodes of a YAML tree: scalars, lists and mappings, each with its position in the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.suite.problems import Place
from harness.suite.scalars import BROKEN, ScalarValue
from harness.words import quoted


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. `quoted` distinguishes `"5"` from `5`; a broken value has been reported already."""

    place: Place
    value: ScalarValue
    quoted: bool = False

    size: int = 1
    height: int = 0


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list; `size` counts its nodes with aliases expanded, `height` the levels below it."""

    place: Place
    items: tuple[Node, ...]
    size: int = 1
    height: int = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping, its position, and its value."""

    place: Place
    node: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping with unique text keys."""

    place: Place
    entries: dict[str, Entry]
    size: int = 1
    height: int = 1


Node = Scalar | Sequence | Mapping


def plain(node: Node) -> Any:
    """Convert a node to text, numbers, tuples and dictionaries for pydantic's strict mode."""
    match node:
        case Scalar():
            return None if node.value is BROKEN else node.value
        case Sequence():
            return tuple(plain(item) for item in node.items)
        case Mapping():
            return {key: plain(entry.node) for key, entry in node.entries.items()}


def described(node: Node) -> str:
    """Describe a node, to follow `found` in a message."""
    match node:
        case Sequence():
            return "a list"
        case Mapping():
            return "a mapping"
        case Scalar(value=None):
            return "nothing"
        case Scalar(value=bool() as value):
            return f"the truth value {str(value).lower()}"
        case Scalar(value=str() as value):
            return f"the text {quoted(value)}"
        case _:
            return f"the number {node.value}"
