"""Format numbers for tables and texts: with a unit and three significant digits."""

from __future__ import annotations

import math
from typing import Final

from harness.model.metrics import metric_named

NOTHING: Final = "\N{EN DASH}"

_BYTES: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_THOUSANDS: Final = ("", "k", "M", "G", "T")


def percent(share: float | None, spread: float | None = None) -> str:
    """Return a share of one in percent, with its spread if given.

    >>> percent(0.8578), percent(0.8578, 0.006)
    ('85.8 %', '85.8 ±0.6 %')
    """
    if share is None:
        return NOTHING
    around = "" if spread is None else f" ±{100 * spread:.1f}"
    return f"{100 * share:.1f}{around} %"


def points(difference: float) -> str:
    """Return a difference of two shares in percentage points.

    >>> points(0.004)
    '+0.4 points'
    """
    # Adding zero turns a negative zero, which rounding may leave, into a plain one.
    return f"{round(100 * difference, 1) + 0.0:+.1f} points"


def amount(metric: str, value: float | None) -> str:
    """Format a metric's value as its row in the table of metrics declares it.

    >>> amount("eval_f1", 0.8997), amount("eval_mcc", 0.512), amount("train_seconds", 185.0)
    ('90.0 %', '0.512', '3 min 05 s')
    """
    if value is None:
        return NOTHING
    unit = metric_named(metric).unit
    if metric_named(metric).shown == "percent":
        return percent(value)
    if unit == "s":
        return duration(value)
    if unit == "B":
        return size(value)
    return rate(value) if unit.endswith("/s") else significant(value)


def difference(metric: str, value: float) -> str:
    """Format a difference of two values of a metric: `+0.4 points` for a share, else `-0.012`."""
    return points(value) if metric_named(metric).shown == "percent" else f"{round(value, 3) + 0.0:+.3f}"


def significant(value: float, digits: int = 3) -> str:
    """Return a number with significant digits and without an exponent.

    >>> significant(0.012345), significant(8.1415), significant(9.996), significant(12345.6)
    ('0.0123', '8.14', '10.0', '12300')
    """
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    # Rounding may carry into a further digit: 9.996 becomes 10.0, not 10.00.
    decimals = digits - 1 - math.floor(math.log10(abs(round(value, decimals))))
    return f"{round(value, decimals):.{max(decimals, 0)}f}"


def rate(value: float | None, unit: str = "") -> str:
    """Return a rate; above a thousand with the prefix k, M, G or T.

    >>> rate(12345.6, "tokens/s"), rate(999.9)
    ('12.3k tokens/s', '1.00k')
    """
    if value is None:
        return NOTHING
    power = 0
    while abs(float(significant(value))) >= 1000 and power < len(_THOUSANDS) - 1:
        value /= 1000
        power += 1
    return f"{significant(value)}{_THOUSANDS[power]} {unit}".rstrip()


def size(count: float | None) -> str:
    """Return a number of bytes in binary units.

    >>> size(512), size(1.2 * 2**30)
    ('512 B', '1.2 GiB')
    """
    if count is None:
        return NOTHING
    power = 0
    while round(count, 1) >= 1024 and power < len(_BYTES) - 1:
        count /= 1024
        power += 1
    return f"{count:.0f} B" if power == 0 else f"{count:.1f} {_BYTES[power]}"


def duration(seconds: float | None) -> str:
    """Return a duration in the largest unit that fits.

    >>> [duration(seconds) for seconds in (0.0123, 4.2, 48, 185, 7620)]
    ['12.3 ms', '4.2 s', '48 s', '3 min 05 s', '2 h 07 min']
    """
    if seconds is None:
        return NOTHING
    if seconds < 0.9995:
        return f"{significant(1000 * seconds)} ms" if seconds else "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
