"""The cells of a comparison's table: values, changes and intervals in the unit a person thinks in."""

from __future__ import annotations

from functools import partial

from harness.analysis.comparison.models import ComparisonRow
from harness.model.looks import LookRow
from harness.model.metrics import metric_named
from harness.output.numbers import NOTHING, difference, significant


def change(row: ComparisonRow | LookRow) -> str:
    """`+0.4 points`, `-0.012`, `1.52 x`."""
    if row.effect is None:
        return NOTHING
    if metric_named(row.metric).family != "quality":
        return f"{_ratio(row.effect)} x"
    return difference(row.metric, row.effect)


def bounds(row: ComparisonRow) -> str:
    """`-1.7 to +2.5 (95 %)`, `1.48 to 1.55 (98.3 %)`: the interval that decided, in the change's unit."""
    return (
        NOTHING
        if row.interval is None or row.coverage is None
        else f"{ends(row)} ({_coverage(row.coverage)})"
    )


def ends(row: ComparisonRow) -> str:
    """`-1.7 to +2.5`: the interval in the unit of the change, without its coverage."""
    if row.interval is None:
        return NOTHING
    low, high = row.interval
    show = _ratio if row.kind == "ratio" else partial(_without_unit, row.metric)
    return f"{show(low)} to {show(high)}"


def _coverage(share: float) -> str:
    """`95 %`, `99.2 %`: as many digits as tell it from 100 %."""
    text = f"{100 * share:.1f}" if share < 0.9995 else f"{100 * share:.3f}"
    return f"{text.rstrip('0').rstrip('.')} %"


def margin_text(metric: str, margin: float) -> str:
    """A margin in the unit that people read: `2 points`, `0.04`."""
    return f"{100 * margin:g} points" if metric_named(metric).shown == "percent" else f"{margin:g}"


def p_value(p: float | None) -> str:
    """Three decimals, and never a zero."""
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def detectable(row: ComparisonRow) -> str:
    """The smallest effect that a repetition would find, where the verdict is `unsure`."""
    if row.verdict != "unsure":
        return ""
    if row.detectable is None:
        return NOTHING if row.p is None else "no effect: add seeds"
    if row.kind == "ratio":
        return f"{_ratio(row.detectable)} x"
    return difference(row.metric, row.detectable).lstrip("+")


def _without_unit(metric: str, value: float) -> str:
    return difference(metric, value).removesuffix(" points")


def _ratio(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= value < 10 else significant(value)
