"""Resolve YAML scalars by the core schema of YAML 1.2, without the surprises of older versions."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

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
