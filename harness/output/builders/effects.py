"""The cells of a comparison's table: values, changes and intervals in the unit a person thinks in."""

from __future__ import annotations

from functools import partial
from typing import Final

from harness.analysis.comparison.models import ComparisonRow
from harness.output.numbers import NOTHING, duration, percent, rate, significant, size

_NAMES: Final = {
    "eval_accuracy": "accuracy",
    "eval_f1": "F1",
    "eval_mcc": "MCC",
    "eval_loss": "validation loss",
    "train_real_tokens_per_second": "real tokens/s",
    "train_samples_per_second": "samples/s",
}
# Shares of one that people read in percent, and whose differences are points.
_SHARES: Final = frozenset({"eval_accuracy", "eval_f1", "padding_efficiency", "model_flops_utilization"})


def metric_name(metric: str) -> str:
    """`accuracy`, `real tokens/s`, `train seconds`."""
    return _NAMES.get(metric, metric.replace("_", " "))


def amount(row: ComparisonRow, value: float | None) -> str:
    """One side's value with its unit, as far as the metric's name does not say it."""
    if value is None:
        return NOTHING
    if row.metric in _SHARES:
        return percent(value)
    if row.unit == "s":
        return duration(value)
    if row.unit == "B":
        return size(value)
    return rate(value) if row.unit.endswith("/s") else significant(value)


def change(row: ComparisonRow) -> str:
    """`+0.4 points`, `-0.012`, `1.52 x`."""
    if row.effect is None:
        return NOTHING
    if row.kind == "ratio":
        return f"{_ratio(row.effect)} x"
    return f"{_difference(row, row.effect)}{' points' if row.metric in _SHARES else ''}"


def bounds(row: ComparisonRow) -> str:
    """`-1.7 to +2.5 (95 %)`, `1.48 to 1.55 (98.3 %)`: the interval that decided, in the change's unit."""
    if row.interval is None or row.coverage is None:
        return NOTHING
    low, high = row.interval
    show = _ratio if row.kind == "ratio" else partial(_difference, row)
    return f"{show(low)} to {show(high)} ({_coverage(row.coverage)})"


def _coverage(share: float) -> str:
    """`95 %`, `99.2 %`: as many digits as tell it from 100 %."""
    text = f"{100 * share:.1f}" if share < 0.9995 else f"{100 * share:.3f}"
    return f"{text.rstrip('0').rstrip('.')} %"


def margin_text(metric: str, margin: float) -> str:
    """A margin in the unit that people read: `2 points`, `0.04`."""
    return f"{100 * margin:g} points" if metric in _SHARES else f"{margin:g}"


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
    shown = _difference(row, row.detectable).lstrip("+")
    return f"{shown} points" if row.metric in _SHARES else shown


def _difference(row: ComparisonRow, value: float) -> str:
    # Adding zero turns a negative zero, which rounding may leave, into a plain one.
    if row.metric in _SHARES:
        return f"{round(100 * value, 1) + 0.0:+.1f}"
    return f"{round(value, 3) + 0.0:+.3f}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= value < 10 else significant(value)
