"""Describe in words the values that a JSON Schema accepts, and the fix for a value that it rejects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from harness.suite.nodes import Node, Scalar
from harness.words import nearest

# Names that other tools use for a value.
_MEANT: Final = {"gpu": "cuda", "nvidia": "cuda", "cuda0": "cuda:0", "metal": "mps", "apple": "mps"}

Loc = tuple[int | str, ...]
Schema = dict[str, Any]


def below(schema: Schema, path: Loc) -> Schema:
    """Return the schema of the value at `path`, or an empty one."""
    here = _resolved(schema, schema)
    for part in path:
        inner = here.get("items") if isinstance(part, int) else here.get("properties", {}).get(part)
        if inner is None and isinstance(here.get("additionalProperties"), dict):
            inner = here["additionalProperties"]
        here = _resolved(inner if isinstance(inner, dict) else {}, schema)
    return here


def _resolved(part: Schema, schema: Schema) -> Schema:
    reference = part.get("$ref")
    if not isinstance(reference, str):
        return part
    found: Schema = schema["$defs"][reference.rpartition("/")[2]]
    return found


def _alternatives(wanted: Schema, schema: Schema) -> Iterator[Schema]:
    for part in wanted.get("anyOf", [wanted]):
        yield _resolved(part, schema)


def keys_of(wanted: Schema, schema: Schema) -> list[str]:
    """Return the keys of a mapping that the schema accepts."""
    return [key for part in _alternatives(wanted, schema) for key in part.get("properties", {})]


def expectations(wanted: Schema, schema: Schema) -> Iterator[str]:
    """Yield a description of each alternative that the schema accepts."""
    for part in _alternatives(wanted, schema):
        match part:
            case {"enum": list(names)}:
                yield f"one of {', '.join(names)}"
            case {"const": name}:
                yield str(name)
            case {"type": "string", "pattern": pattern}:
                yield part.get("description", f"text that matches {pattern}")
            case {"type": "string"}:
                yield f"text of 1 to {part['maxLength']} characters" if "maxLength" in part else "text"
            case {"type": "integer" | "number" as kind}:
                yield _number(kind, part)
            case {"type": "array"}:
                most = f" of {part['minItems']} to {part['maxItems']} items" if "maxItems" in part else ""
                yield f"a list{most}"
            case {"type": "object"}:
                yield "a mapping"


def _number(kind: str, part: Schema) -> str:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    bounds = " and ".join(f"{word} {part[key]:,}" for key, word in words.items() if key in part)
    what = "a whole number" if kind == "integer" else "a finite number"
    return f"{what}, {bounds}" if bounds else what


def remedy(found: Node, wanted: Schema, schema: Schema) -> str:
    """Return advice on how to correct the value, or an empty text if none can be derived from it."""
    if not isinstance(found, Scalar):
        return ""
    parts = list(_alternatives(wanted, schema))
    kinds = {part.get("type") for part in parts}
    names = [name for part in parts for name in part.get("enum", [])]
    meant = _MEANT.get(str(found.value).casefold(), "")
    if any(re.search(part["pattern"], meant) for part in parts if "pattern" in part):
        return f" (did you mean {meant}?)"
    if isinstance(found.value, str) and names:
        near = nearest(found.value, names)
        return f" (did you mean {near}?)" if near is not None else ""
    if isinstance(found.value, str) and kinds & {"integer", "number"} and _is_number(found.value):
        return " (write the number without quotes)" if found.quoted else " (write it as a plain number)"
    if isinstance(found.value, int | float) and not found.quoted and kinds <= {"string", "null"}:
        return " (put it in quotes)"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
