"""Series of steps in few bins: the median of each bin, and the interval that covers most of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from harness.analysis.summary import quantile
from harness.model.results import TrialResult

MOST_BINS: Final = 20
LOW: Final = 0.1
HIGH: Final = 0.9
_LEAST_VALUES: Final = 3


@dataclass(frozen=True, slots=True)
class StepBin:
    """The values of the steps around `step`: their median, and their 10 % and 90 % quantiles.

    `band` is None for fewer than three values, whose quantiles mean little.
    """

    step: float
    median: float
    band: tuple[float, float] | None


def has_steps(results: Iterable[TrialResult], metric: str) -> bool:
    """Return whether a completed trial has several values of a metric."""
    completed = (result.measurement(metric) for result in results if result.status == "completed")
    return any(found is not None and len(found.values) > 1 for found in completed)


def step_bins(results: Iterable[TrialResult], metric: str, first: int, steps: int = 1) -> tuple[StepBin, ...]:
    """Return at most 20 bins over the values of all these trials; empty if no trial has several values.

    Args:
        results: trials of one variant, or a single one.
        metric: one with a value for each step.
        first: the number of the first value's step.
        steps: the number of steps that each value is the mean of.
    """
    series = [
        found.values
        for result in results
        if (found := result.measurement(metric)) is not None and len(found.values) > 1
    ]
    longest = max(map(len, series), default=0)
    bins = min(MOST_BINS, longest)
    edges = [longest * at // bins for at in range(bins + 1)] if bins else []
    binned = []
    for low, high in pairwise(edges):
        values = sorted(value for each in series for value in each[low:high])
        middle = first + (steps * (low + high) - 1) / 2
        band = (quantile(values, LOW), quantile(values, HIGH)) if len(values) >= _LEAST_VALUES else None
        binned.append(StepBin(middle, quantile(values, 0.5), band))
    return tuple(binned)
