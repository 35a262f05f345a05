"""Nodes of a YAML tree: scalars, lists and mappings, each with its position in the file.

Scalars are resolved by the core schema of YAML 1.2, without the surprises of older versions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from harness.suite.problems import Place
from harness.words import quoted

MAX_SCALAR_LENGTH: Final = 4_096
MAX_DIGITS: Final = 100


class _Broken(Enum):
    """The value of an invalid scalar that has been reported already."""

    BROKEN = "broken"


BROKEN: Final = _Broken.BROKEN

ScalarValue = str | int | float | bool | _Broken | None

_CONSTANTS: Final[dict[str, bool | float | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_LEADING_ZERO: Final = re.compile(r"[-+]?0[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_OTHER_BASE: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
# A NUL truncates a path in system calls, and a lone surrogate cannot be written to a file.
_UNWRITABLE: Final = re.compile("[\0\ud800-\udfff]")


def resolve(text: str, *, in_quotes: bool) -> tuple[ScalarValue, str | None]:
    """Return the scalar's value, and a message if it is invalid; with `in_quotes` it is always text."""
    if len(text) > MAX_SCALAR_LENGTH:
        return BROKEN, f"a value of {len(text):,} characters, the limit is {MAX_SCALAR_LENGTH:,}"
    if found := _UNWRITABLE.search(text):
        return BROKEN, f"the character U+{ord(found[0]):04X} cannot be part of a value"
    if in_quotes:
        return text, None
    if text in _CONSTANTS:
        return _CONSTANTS[text], None
    if _FLOAT.fullmatch(text) or _OTHER_BASE.fullmatch(text):
        return _number(text)
    return text, None


def _number(text: str) -> tuple[ScalarValue, str | None]:
    if len(text) > MAX_DIGITS:
        return BROKEN, f"a number of {len(text):,} characters, the limit is {MAX_DIGITS}"
    if _LEADING_ZERO.fullmatch(text):
        return BROKEN, f'the number {text} has a leading zero: write {int(text)}, or "{text}" for text'
    if _OTHER_BASE.fullmatch(text):
        return int(text, 0), None
    return (int(text), None) if _INTEGER.fullmatch(text) else (float(text), None)


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
