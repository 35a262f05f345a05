"""Frozen: the base model of all stored and validated data."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable plain data; reject unknown keys, implicit conversions, NaN and infinity."""

    # Dump NaN and infinity as constants, so that the store rejects them; by default they become null.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, ser_json_inf_nan="constants"
    )


def is_none(value: object) -> bool:
    """Return whether a field is left out of JSON: one added later is not written where it is None."""
    return value is None
