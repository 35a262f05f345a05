"""Measurement: the raw values of one metric in one trial."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any, Final, Self, overload

from pydantic import GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from harness.model.arrays import Numbers
from harness.model.frozen import Frozen, lean
from harness.model.metrics import LARGEST, METRICS, Goal, metric_named, score_and_split

MOST_LOSSES: Final = 2_000
"""A trial keeps at most so many losses: of more steps, means over as few consecutive ones as that takes."""


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


def possible_range(metric: str) -> tuple[float, float]:
    """Return the smallest and the largest value that the table of metrics admits."""
    if score_and_split(metric)[0] not in METRICS:
        return -math.inf, math.inf
    return metric_named(metric).bounds


def measured(metric: str, *values: float) -> Measurement:
    """Return a measurement with values, its unit and goal from the table of metrics."""
    row = metric_named(metric)
    return Measurement(metric=metric, unit=row.unit, goal=row.goal, values=Numbers(values))


def unmeasured(metric: str, reason: str) -> Measurement:
    """Return a measurement that could not be taken, and why."""
    row = metric_named(metric)
    return Measurement(metric=metric, unit=row.unit, goal=row.goal, values=Numbers(()), reason=reason)


def reasons_of(measurements: Iterable[Measurement]) -> dict[str, str]:
    """Return why metrics could not be measured, by metric."""
    return {found.metric: found.reason for found in measurements if found.reason is not None}


@dataclass(frozen=True, slots=True)
class Layout:
    """Measurements of several trials that differ in their values alone.

    `kinds` are those of one trial, whose values do not count, `metrics` their names, and `reasons` why some
    have no values. Of the values of a trial, laid end to end, those of a measurement lie between its `starts`
    and the next one.
    """

    kinds: tuple[Measurement, ...]
    metrics: dict[str, int]
    reasons: dict[str, str]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, kinds: Sequence[Measurement], counts: Iterable[int]) -> Layout:
        """Return the layout of measurements with so many values each.

        Raises:
            ValueError: A metric occurs twice.
        """
        metrics = {kind.metric: place for place, kind in enumerate(kinds)}
        if len(metrics) < len(kinds):
            raise ValueError("measurements: a metric occurs twice")
        return cls(tuple(kinds), metrics, reasons_of(kinds), (0, *accumulate(counts)))


class PackedMeasurements(Sequence[Measurement]):
    """The measurements of one trial of many, in a tenth of the memory of a tuple of them.

    Equal to a tuple of its items and serialized like one; an item is made when it is read.
    """

    __slots__ = ("_layout", "_medians", "_values")

    def __init__(self, layout: Layout, values: Iterable[float]) -> None:
        """Copy the values of the measurements of the layout, laid end to end."""
        self._layout = layout
        self._values = array("d", values)
        self._medians: dict[str, float | None] = {}

    @property
    def metrics(self) -> Collection[str]:
        """The name of each metric, in order."""
        return self._layout.metrics

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why metrics could not be measured, by metric, in order."""
        return self._layout.reasons

    def named(self, metric: str) -> Measurement | None:
        """Return the measurement of that metric, or None."""
        place = self._layout.metrics.get(metric)
        return None if place is None else self[place]

    def values(self, metric: str) -> Sequence[float]:
        """Return the values of that metric, empty where there are none."""
        place = self._layout.metrics.get(metric)
        return () if place is None else self._of(place)

    def median(self, metric: str) -> float | None:
        """Return the median of that metric's values, which is computed once; None where there are none."""
        place = self._layout.metrics.get(metric)
        if place is None:
            return None
        start, end = self._layout.starts[place : place + 2]
        if end == start + 1:
            return self._values[start]
        if metric not in self._medians:
            self._medians[metric] = Numbers(self._values[start:end]).median
        return self._medians[metric]

    def __len__(self) -> int:
        return len(self._layout.kinds)

    @overload
    def __getitem__(self, index: int) -> Measurement: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Measurement, ...]: ...
    def __getitem__(self, index: int | slice) -> Measurement | tuple[Measurement, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        place = range(len(self))[index]
        return lean(self._layout.kinds[place], values=Numbers(self._of(place)))

    def _of(self, place: int) -> array[float]:
        start, end = self._layout.starts[place : place + 2]
        return self._values[start:end]

    def __iter__(self) -> Iterator[Measurement]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


class _TupleOrPacked:
    """Validate and write measurements as a tuple, but leave packed ones packed."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        tuples = handler.generate_schema(tuple[Measurement, ...])
        return core_schema.json_or_python_schema(
            json_schema=tuples,
            python_schema=core_schema.union_schema(
                [core_schema.is_instance_schema(PackedMeasurements), tuples]
            ),
            serialization=core_schema.plain_serializer_function_ser_schema(tuple, return_schema=tuples),
        )


Measurements = Annotated[Sequence[Measurement], _TupleOrPacked]
"""The measurements of a trial: a tuple, or packed."""
