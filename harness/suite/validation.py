"""Convert pydantic's validation errors to sentences with positions in the file."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness.model.arguments import UNSUPPORTED_VALUES
from harness.suite.expectations import Loc, Schema, below, expectations, keys_of, remedy
from harness.suite.names import suggestion, unsupported_argument
from harness.suite.nodes import Mapping, Node, Scalar, Sequence, described
from harness.suite.problems import Place, Problem
from harness.words import quoted


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
