"""Frozen: what every stored and validated piece of data in the project is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Plain data that never changes: unknown keys, loose types, NaN and infinity are refused."""

    # Written as they are, so that the store sees and refuses them: the default writes null without a word.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, ser_json_inf_nan="constants"
    )


def is_none(value: object) -> bool:
    """Return whether a field is left out of JSON: one added later is not written where it is None."""
    return value is None
