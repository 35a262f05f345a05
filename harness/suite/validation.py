"""Convert pydantic's validation errors to sentences with positions in the file.

The values that a JSON Schema accepts, and the fix for a rejected value, are described in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness.model.arguments import UNSUPPORTED_VALUES
from harness.model.axis import text
from harness.suite.names import suggestion, unsupported_argument
from harness.suite.nodes import Mapping, Node, Scalar, Sequence, described
from harness.suite.problems import Place, Problem
from harness.words import nearest, quoted

# Names that other tools use for a value.
_MEANT: Final = {"gpu": "cuda", "nvidia": "cuda", "cuda0": "cuda:0", "metal": "mps", "apple": "mps"}
# What YAML 1.1, or another language, takes for true and false.
_SWITCHES: Final = {
    **dict.fromkeys(("yes", "y", "on", "1", "true"), "true"),
    **dict.fromkeys(("no", "n", "off", "0", "false"), "false"),
}

Loc = tuple[int | str, ...]
Schema = dict[str, Any]


def below(schema: Schema, path: Loc) -> Schema:
    """Return the schema of the value at `path`, or an empty one."""
    here = _resolved(schema, schema)
    for part in path:
        inside = (_inside(each, part) for each in _alternatives(here, schema))
        here = _resolved(next(filter(None, inside), {}), schema)
    return here


def _inside(here: Schema, part: int | str) -> Schema | None:
    inner = here.get("items") if isinstance(part, int) else here.get("properties", {}).get(part)
    if inner is None:
        inner = here.get("additionalProperties")
    return inner if isinstance(inner, dict) else None


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
                yield f"one of {', '.join(map(text, names))}"
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
            case {"type": "boolean"}:
                yield "true or false"


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
    names = [text(name) for part in parts for name in part.get("enum", [])]
    meant = _MEANT.get(str(found.value).casefold(), "")
    if any(re.search(part["pattern"], meant) for part in parts if "pattern" in part):
        return f" (did you mean {meant}?)"
    if "boolean" in kinds:
        switch = _SWITCHES.get(str(found.value).casefold())
        return f" (write {switch}{' without quotes' if found.quoted else ''})" if switch else ""
    return _remedy_of_scalar(found, kinds, names)


def _remedy_of_scalar(found: Scalar, kinds: set[Any], names: list[str]) -> str:
    if isinstance(found.value, str) and names:
        near = nearest(found.value, names)
        return f" (did you mean {near}?)" if near is not None else ""
    if isinstance(found.value, str) and kinds & {"integer", "number"} and _is_number(found.value):
        return " (write the number without quotes)" if found.quoted else " (write it as a plain number)"
    if isinstance(found.value, int | float) and not found.quoted and kinds <= {"string", "null"}:
        return " (put it in quotes)"
    return ""


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def problems_of(error: ValidationError, node: Node, schema: Schema, label: str) -> list[Problem]:
    """Return each validation error once, at its position below `node`.

    Args:
        error: The error from validating the value of `node`.
        node: The invalid node.
        schema: The JSON Schema of the expected value.
        label: The name of the value in messages about all of it.
    """
    seen: dict[tuple[Place, str], Problem] = {}
    for details in error.errors(include_url=False):
        problem = _problem(details, node, schema, label)
        seen.setdefault((problem.place, problem.what), problem)
    return list(seen.values())


def _problem(details: ErrorDetails, node: Node, schema: Schema, label: str) -> Problem:
    path, found, key_place = _walk(node, details["loc"])
    wanted = below(schema, path)
    name = next((str(part) for part in reversed(path) if isinstance(part, str)), label)
    if details["type"] == "missing":
        return Problem(found.place, f"the key {details['loc'][-1]} is missing in {name}")
    if details["type"] == "extra_forbidden":
        key = str(details["loc"][-1])
        place = key_place or found.place
        if argument := unsupported_argument(key, str(path[-2]) if path[1:] else ""):
            return Problem(place, argument)
        return Problem(
            place, f"unknown key {quoted(key)}{suggestion(key, keys_of(below(schema, path[:-1]), schema))}"
        )
    if details["type"] == "value_error":
        on_key = details["loc"][-1:] == ("[key]",) and key_place is not None
        return Problem(key_place if on_key and key_place else found.place, str(details["ctx"]["error"]))
    if isinstance(found, Scalar) and (why := UNSUPPORTED_VALUES.get(name, {}).get(str(found.value))):
        known = " or ".join(expectations(wanted, schema))
        return Problem(found.place, f"{name} {found.value} is not supported: {why}; write {known}")
    expected = " or ".join(expectations(wanted, schema)) or details["msg"]
    return Problem(
        found.place, f"{name} must be {expected}; found {described(found)}{remedy(found, wanted, schema)}"
    )


def _walk(node: Node, loc: Loc) -> tuple[Loc, Node, Place | None]:
    """Follow `loc` as far as nodes exist; return that part, its last node, and the position of its key."""
    path: list[int | str] = []
    key_place = None
    for part in loc:
        if isinstance(node, Mapping) and part in node.entries:
            key_place, node = node.entries[str(part)].place, node.entries[str(part)].node
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        else:
            break
        path.append(part)
    return tuple(path), node, key_place
