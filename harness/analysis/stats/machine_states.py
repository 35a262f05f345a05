"""Machine states: the difference of two separate runs due to the state of the machine only.

Between two runs a machine changes: other tenants, clock frequency, memory layout. Trials of one run share its
state, so more trials per run do not reduce the difference of two runs below the difference of two states. A
calibration over several states separates both: with y_ij the logarithm of run j in state i,

    y_ij = mean + state_i + run_ij,    state_i ~ N(0, between^2),    run_ij ~ N(0, within^2)

and the difference of two runs of k trials each, one run per side, has a variance of
2 * (between^2 + within^2 / k). Comparisons of separate runs take the second part from their own trials, and
the first from `run_variance`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from operator import mul
from statistics import fmean, variance
from typing import Final

from harness.analysis.stats.components import ALPHA, Components, Part
from harness.analysis.stats.ratios import RunVariance
from harness.model.calibration import STATE_GAP, MachineState

LEAST_STATES: Final = 2
# Limit to avoid overflow, beyond any meaningful band.
_LARGEST_LOGARITHM: Final = 100.0


def add_state(states: Sequence[MachineState], new: MachineState) -> tuple[MachineState, ...]:
    """Return the states with the new one at the end; it replaces one with the same id."""
    return (*(state for state in states if state.id != new.id), new)


def states_apart(states: Sequence[MachineState]) -> tuple[MachineState, ...]:
    """Return the states with those that ended less than `STATE_GAP` after each other as one.

    Calibrations in close succession meet one state of the machine: as several, they would underestimate the
    variance between runs.
    """
    found: list[MachineState] = []
    for state in sorted(states, key=lambda each: each.created):
        before: Mapping[str, tuple[float, ...]] = {}
        if found and state.created - found[-1].created < STATE_GAP:
            before = found.pop().values
        names = dict.fromkeys([*before, *state.values])
        values = {name: (*before.get(name, ()), *state.values.get(name, ())) for name in names}
        found.append(state.model_copy(update={"values": values}))
    return tuple(found)


def run_variance(states: Sequence[Sequence[float]]) -> RunVariance | None:
    """Return the variance of the state means of the logarithm, that is the variance between runs.

    It includes the scatter of runs divided by their number in a state, so it is never too small. For states
    of unequal size that number is their harmonic mean (the method of unweighted means).

    Args:
        states: for each state the values of one metric, one per run.

    Returns:
        The variance, or None with fewer than two states.

    Raises:
        ValueError: A state is empty, or a value is not above zero.
    """
    if any(not values or min(values) <= 0 for values in states):
        raise ValueError("states need values above zero")
    if len(states) < LEAST_STATES:
        return None
    logs = [[math.log(value) for value in values] for values in states]
    size = len(logs) / sum(1 / len(values) for values in logs)
    freedom = sum(map(len, logs)) - len(logs)
    squares = sum(variance(values) * (len(values) - 1) for values in logs if len(values) > 1)
    averaged = (1 - 1 / size) * squares / freedom if freedom else 0.0
    return RunVariance(variance(map(fmean, logs)), len(states), averaged)


def pooled_variance(known: Sequence[RunVariance], most_runs: int) -> RunVariance:
    """Pool several variances between runs, weighted by their degrees of freedom.

    Args:
        known: one or more.
        most_runs: the number of distinct runs: entries of `known` may share states of the machine.
    """
    weights = [each.runs - 1 for each in known]
    mean = partial(_weighted, weights)
    return RunVariance(
        mean([each.variance for each in known]),
        min(sum(weights) + 1, most_runs),
        mean([each.of_trials for each in known]),
    )


def _weighted(weights: Sequence[int], values: Sequence[float]) -> float:
    return float(sum(map(mul, weights, values)) / sum(weights))


def between_run_band(states: Sequence[Sequence[float]]) -> float | None:
    """Return the relative band of 95 % of the ratios (larger over smaller) of two runs of one trial each.

    The variance is that of the state means, plus the scatter that the mean of a state averages away. Degrees
    of freedom are those of the states only, a lower bound (Satterthwaite's formula gives too many for two or
    three states). With few states the band is wide: 2 give a t of 12.7, 5 of 2.8, 10 of 2.3.

    Args:
        states: for each state the values of one metric, one per run.

    Returns:
        The band, or None with fewer than two states.

    Raises:
        ValueError: A state is empty, or a value is not above zero.

    >>> between_run_band([[100.0, 101.0]])
    >>> round(between_run_band([[100.0, 101.0], [104.0, 103.0], [99.0, 100.0]]), 3)
    0.137
    """
    known = run_variance(states)
    if known is None:
        return None
    components = Components(Part(2 * (known.variance + known.of_trials), known.runs - 1.0))
    return math.expm1(min(components.half_width(ALPHA), _LARGEST_LOGARITHM))
