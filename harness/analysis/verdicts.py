"""Verdicts: the word for an effect, from what the statistics say and nothing else."""

from __future__ import annotations

from harness.analysis.comparison_models import Verdict
from harness.analysis.statistics import ALPHA, Effect, is_equivalent
from harness.metrics import Goal


def quality_verdict(effect: Effect, p: float | None, goal: Goal, margin: float | None) -> Verdict:
    """The word for a difference.

    Args:
        effect: candidate minus baseline.
        p: adjusted over the table.
        goal: which direction is better.
        margin: of equivalence, in the metric's unit; None where none is stated.

    Returns:
        `better` or `worse` if the test finds a difference, else `same` if it is shown to lie inside the
        margin or there is none at all, else `unsure`.
    """
    if p is not None and p <= ALPHA:
        return _direction(effect.value, goal)
    if effect.identical or (margin is not None and is_equivalent(effect.narrow, margin)):
        return "same"
    return "unsure"


def trial_verdict(effect: Effect, p: float | None, goal: Goal, band: float | None) -> Verdict:
    """The word for a ratio of whole trials' numbers.

    `band` is the relative noise of the machine, measured by running one variant against itself: an effect
    counts when the test finds it, its interval leaves out 1, and it is larger than the band; it is `same`
    when the whole interval lies inside.
    """
    if effect.identical:
        return "same"
    if effect.interval is None:
        return "unsure"
    low, high = effect.interval
    edge = 1 + (band or 0.0)
    outside = not 1 / edge <= effect.value <= edge
    if p is not None and p <= ALPHA and outside and not low <= 1 <= high:
        return _direction(effect.value - 1, goal)
    return "same" if band and 1 / edge <= low and high <= edge else "unsure"


def _direction(difference: float, goal: Goal) -> Verdict:
    return "better" if (difference > 0) == (goal == "max") else "worse"
