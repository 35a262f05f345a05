"""Frozen: the base model of all stored and validated data."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable plain data; reject unknown keys, implicit conversions, NaN and infinity."""

    # Dump NaN and infinity as constants, so that the store rejects them; by default they become null.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, ser_json_inf_nan="constants"
    )


M = TypeVar("M", bound=Frozen)


@lru_cache(maxsize=64)
def _fields(kind: type[Frozen]) -> set[str]:
    return set(kind.model_fields)


def lean(model: M, **changes: object) -> M:
    """Return a validated part of a result, or the result, with these changes and in less memory.

    Every validated model owns a set of the fields that were given, as large as the rest of it; here all
    models of one type share a set.
    """
    kind = type(model)
    found = kind.__new__(kind)
    values = model.__dict__ | changes
    if len(values) > len(_fields(kind)):
        values = {name: values[name] for name in kind.model_fields}
    # As `model_copy` does, without its copies: a large report has many thousands of parts.
    for slot, content in (
        ("__dict__", values),
        ("__pydantic_fields_set__", _fields(kind)),
        ("__pydantic_extra__", None),
        ("__pydantic_private__", None),
    ):
        object.__setattr__(found, slot, content)
    return found


def is_none(value: object) -> bool:
    """Return whether a field is left out of JSON: one added later is not written where it is None."""
    return value is None
