"""Drawings: the numbers of a chart and their meaning, without any picture.

A format draws them (`harness.output.plot`) or writes their table (`harness.output.plot.twin`). Every number
is in the base unit of its axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Unit = Literal["percent", "points", "rate", "seconds", "bytes", "ratio", "number", "count"]
Interval = tuple[float, float]
# How a judged row is drawn; a `quiet` one was not judged.
Mark = Literal["better", "worse", "same", "unsure", "quiet"]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis. A linear axis starts at zero unless it is `cut`; a logarithmic one (`log`) never does."""

    title: str
    unit: Unit
    log: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Seed:
    """One trial of a point."""

    seed: int | str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Point:
    """A variant with its seeds; `doubt` is why its numbers are not those of the real assets (hollow)."""

    label: str
    x: float
    y: float
    x_range: Interval | None = None
    y_range: Interval | None = None
    seeds: tuple[Seed, ...] = ()
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Scatter:
    """Points on two axes; the meanings describe the whiskers."""

    x: Axis
    y: Axis
    points: tuple[Point, ...]
    x_meaning: str = ""
    y_meaning: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """A variant from the baseline to the candidate, as (x, y) each."""

    label: str
    start: tuple[float, float]
    end: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Arrows:
    """Arrows on two axes."""

    x: Axis
    y: Axis
    arrows: tuple[Arrow, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: `values` has the length of each part, `doubt` marks it as in `Point`."""

    label: str
    values: tuple[float, ...]
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars from zero, of one or more parts laid end to end.

    The last of several parts is hatched: it is the wasted one, or the rest.
    """

    axis: Axis
    bars: tuple[Bar, ...]
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A value at a place of a line; `band` is the interval of a ribbon."""

    x: float
    y: float
    band: Interval | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """The samples of one variant, in order of x; a line with a `seed` is thin: one trial of the variant."""

    label: str
    samples: tuple[Sample, ...]
    seed: int | str | None = None


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of variants, with ribbons where the samples have bands."""

    x: Axis
    y: Axis
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """One judged difference or ratio.

    `words` is its verdict with the numbers. `margin` is the band of equivalence (grey), `noise` the
    calibrated band of the machine (hatched), `limit` the limit of a gate.
    """

    label: str
    mark: Mark
    words: str
    value: float | None = None
    interval: Interval | None = None
    margin: Interval | None = None
    noise: Interval | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Forest:
    """Effects below each other.

    `neutral` is the value without an effect: 0 for a difference, 1 for a ratio, None for a plain value.
    `names` replaces the names of marks in the key.
    """

    axis: Axis
    neutral: float | None
    effects: tuple[Effect, ...]
    names: Mapping[Mark, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slope:
    """One column a machine, one line a variant: ratios to the machine's own baseline; None is missing."""

    axis: Axis
    columns: tuple[str, ...]
    lines: tuple[tuple[str, tuple[float | None, ...]], ...]


Drawing = Scatter | Arrows | Bars | Lines | Forest | Slope
