"""Scales: from values to pixels, with ticks at round values and the words for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from harness.output.drawings import Axis, Unit
from harness.output.numbers import duration, percent, points, rate, significant, size

_ROUND: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST_TICKS: Final = 6
# A span of equal values still needs a width.
_LEAST_SPAN: Final = 1e-3


def ratio(value: float) -> str:
    """Return a ratio with two decimals, or three digits where that is not enough.

    >>> ratio(1.1834), ratio(0.012345)
    ('1.18 x', '0.0123 x')
    """
    return f"{value:.2f} x" if 0.1 <= value < 10 else f"{significant(value)} x"


WORDS: Final[dict[Unit, Callable[[float], str]]] = {
    "percent": percent,
    "points": points,
    "rate": rate,
    "seconds": duration,
    "bytes": size,
    "ratio": ratio,
    "number": significant,
    "count": lambda value: f"{value:,.0f}",
}


def words(axis: Axis, value: float) -> str:
    """Return a value in the unit of its axis."""
    return WORDS[axis.unit](value)


def tick_words(axis: Axis, value: float) -> str:
    """Return the value of a tick, with no more digits than it has.

    >>> [tick_words(Axis("", unit), 0.025) for unit in ("percent", "points", "seconds", "ratio")]
    ['2.5 %', '+2.5', '25 ms', '0.025 x']
    >>> tick_words(Axis("", "rate"), 25000.0), tick_words(Axis("", "bytes"), 1.5 * 2**30)
    ('25k', '1.5 GiB')
    """
    if axis.unit == "percent":
        return f"{_short(100 * value)} %"
    if axis.unit == "points":
        return f"{_short(100 * value):+g}" if round(value, 9) else "0"
    if axis.unit == "ratio":
        return f"{_short(value)} x"
    if axis.unit in ("rate", "bytes", "seconds") and value:
        steps = _STEPS[axis.unit]
        unit, divisor = next((each for each in steps if abs(value) >= 0.9999 * each[1]), ("", 1.0))
        return f"{_short(value / divisor)}{unit}"
    return f"{value:g}" if axis.log else str(_short(value))


def _short(value: float) -> int | float:
    rounded = round(value, 9)
    return int(rounded) if rounded == int(rounded) else rounded


_STEPS: Final[dict[Unit, tuple[tuple[str, float], ...]]] = {
    "rate": (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)),
    "bytes": ((" TiB", 1024.0**4), (" GiB", 1024.0**3), (" MiB", 1024.0**2), (" KiB", 1024.0), (" B", 1.0)),
    "seconds": ((" h", 3600.0), (" min", 60.0), (" s", 1.0), (" ms", 1e-3), (" µs", 1e-6)),
}


@dataclass(frozen=True, slots=True)
class Scale:
    """A mapping of the values from `low` to `high` to the pixels from `start` to `end`."""

    axis: Axis
    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high, at = (
            (math.log(self.low), math.log(self.high), math.log(value))
            if self.axis.log
            else (self.low, self.high, value)
        )
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def inside(self, value: float) -> float:
        """Return the pixel of a value, or that of the end beyond which it lies."""
        return self.at(min(max(value, self.low), self.high))


def scale(axis: Axis, values: Iterable[float], start: float, end: float) -> Scale:
    """Return a scale that shows all these values and ends at ticks.

    >>> scale(Axis("F1", "percent", cut=True), [0.801, 0.865], 0, 100).ticks
    (0.8, 0.82, 0.84, 0.86, 0.88)
    """
    found = [value for value in values if value > 0 or not axis.log]
    low, high = min(found, default=1.0), max(found, default=1.0)
    if axis.log:
        low, high, ticks = _log_ticks(low, high)
    else:
        if not axis.cut:
            low, high = min(low, 0.0), max(high, 0.0)
        if high - low < _LEAST_SPAN * max(abs(low), abs(high), _LEAST_SPAN):
            room = 1.0 if axis.unit == "count" or not axis.cut else _LEAST_SPAN * max(abs(high), 1.0)
            low, high = (low - room if axis.cut else min(low, 0.0)), high + room
        ticks = _linear_ticks(low, high, _base(axis.unit, high), whole=axis.unit == "count")
        low, high = ticks[0], ticks[-1]
    return Scale(axis, low, high, start, end, ticks)


def _base(unit: Unit, high: float) -> float:
    """Return the unit in which ticks are round: GiB and minutes are not powers of ten."""
    if unit == "bytes":
        return 1024.0 ** int(math.log(max(high, 1.0), 1024))
    if unit == "seconds":
        return 3600.0 if high >= 10_800 else 60.0 if high >= 180 else 1.0
    return 1.0


def _linear_ticks(low: float, high: float, base: float = 1.0, *, whole: bool = False) -> tuple[float, ...]:
    """Return round ticks from below `low` to above `high`."""
    low, high = low / base, high / base
    rough = (high - low) / (_MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    steps = (power * each for each in _ROUND if power * each >= rough * 0.999)
    step = next(each for each in (*steps, 10 * power) if not whole or each == int(each))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return tuple(round(at * step, digits) * base for at in range(first, last + 1))


def _log_ticks(low: float, high: float) -> tuple[float, float, tuple[float, ...]]:
    """Return the ends and the ticks: powers of ten with 2 and 5 between, or linear ones for a small span."""
    if high / low < 1.001:
        low, high = low / 1.05, high * 1.05
    if high / low < 4:
        ticks = _linear_ticks(low, high)
        ticks = ticks if ticks[0] > 0 else (low, *ticks[1:])
        return ticks[0], ticks[-1], ticks
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [each * 10.0**power for power in powers for each in (1, 2, 5)]
    first = max((tick for tick in every if tick <= low * 1.000001), default=every[0])
    last = min((tick for tick in every if tick >= high / 1.000001), default=every[-1])
    kept = [tick for tick in every if first <= tick <= last]
    if len(kept) > _MOST_TICKS + 1:
        kept = [10.0**power for power in powers]
        first, last = kept[0], kept[-1]
    return first, last, tuple(kept)
