"""A calibration: equal runs of one trial on one machine, in one or more states of that machine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field

from harness.model.frozen import Frozen
from harness.model.trial import Trial

NOISE_SCHEMA_VERSION: Final = 1
LEAST_REPEATS: Final = 2
STATE_GAP: Final = timedelta(minutes=1)
"""Runs separated by less than this share a state of the machine."""

Band = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class MachineState(Frozen):
    """Equal runs in one state of the machine: a whole calibration, or one of its spread repetitions.

    `id` identifies the state, which ended at `created`. `values` maps each timing metric to one number per
    run.
    """

    id: Annotated[str, Field(min_length=1, max_length=64)]
    created: AwareDatetime
    values: dict[str, tuple[Positive, ...]]


class Noise(Frozen):
    """The bands of one machine, as `harness calibrate` stores them.

    `bands` maps each timing metric to the b for which 95 % of all pairs of equal runs have a ratio (larger
    over smaller) of at most 1 + b. `values` are the measured numbers, one per run. `states` groups the same
    runs by the state of the machine; it is empty in files written before states were recorded.
    """

    schema_version: Literal[1] = NOISE_SCHEMA_VERSION
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    created: AwareDatetime
    suite: str
    trial: Trial
    repeats: Annotated[int, Field(ge=LEAST_REPEATS)]
    bands: dict[str, Band]
    values: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    states: Annotated[tuple[MachineState, ...], Field(exclude_if=lambda states: not states)] = ()


def values_by_state(states: Sequence[MachineState], metric: str) -> list[tuple[float, ...]]:
    """Return the values of a metric for each state in which it was measured."""
    return [state.values[metric] for state in states if metric in state.values]
