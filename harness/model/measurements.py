"""Measurement: the raw values of one metric in one trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import model_validator

from harness.model.arrays import Numbers
from harness.model.frozen import Frozen
from harness.model.metrics import LARGEST, METRICS, Goal, metric_named, score_and_split


class Measurement(Frozen):
    """One metric of one trial. `values` are raw: one number, or one for each training step or pass.

    Empty `values` mean that it could not be measured, and then `reason` gives the cause. A metric of the
    table has the table's unit and goal, and values in its range.
    """

    metric: str
    unit: str
    goal: Goal
    values: Numbers
    reason: str | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if bool(self.values) == (self.reason is not None):
            raise ValueError(f"{self.metric}: either values or a reason for having none")
        if score_and_split(self.metric)[0] not in METRICS:
            return self
        known = metric_named(self.metric)
        if self.unit != known.unit or self.goal != known.goal:
            raise ValueError(f"{self.metric}: its unit is {known.unit}, its goal {known.goal}")
        check_values(self.metric, self.values)
        return self

    @property
    def median(self) -> float | None:
        """The median of the values, or None where there are none."""
        return self.values.median


def check_values(metric: str, values: Sequence[float]) -> None:
    """Raise ValueError where the table of metrics excludes so many values, or one of them."""
    if not values or score_and_split(metric)[0] not in METRICS:
        return
    known = metric_named(metric)
    if len(values) == 1:
        check_range(metric, values[0])
        return
    if not known.several:
        raise ValueError(f"{metric}: {len(values)} values, where a trial has one")
    check_range(metric, min(values))
    check_range(metric, max(values))


def check_range(metric: str, value: float) -> None:
    """Raise ValueError where the table of metrics excludes the value."""
    if value > LARGEST:
        raise ValueError(f"{metric}: {value:g} is impossible, it is at most {LARGEST:g}")
    if not metric_named(metric).admits(value):
        raise ValueError(f"{metric}: {value:g} is impossible, it is {metric_named(metric).range}")


def measured(metric: str, *values: float) -> Measurement:
    """Return a measurement with values, its unit and goal from the table of metrics."""
    row = metric_named(metric)
    return Measurement(metric=metric, unit=row.unit, goal=row.goal, values=Numbers(values))


def unmeasured(metric: str, reason: str) -> Measurement:
    """Return a measurement that could not be taken, and why."""
    row = metric_named(metric)
    return Measurement(metric=metric, unit=row.unit, goal=row.goal, values=Numbers(()), reason=reason)
