"""Verdicts: the word for an effect, from its statistics alone."""

from __future__ import annotations

from harness.analysis.comparison.models import Verdict
from harness.analysis.stats.components import ALPHA
from harness.analysis.stats.tests import Effect, is_equivalent
from harness.model.metrics import Goal


def verdict_of_effect(effect: Effect, p: float | None, goal: Goal, margin: float | None) -> Verdict:
    """The word for a difference of scores or a ratio of whole trials' numbers.

    Args:
        effect: candidate minus baseline, or candidate over baseline.
        p: adjusted over the table; None without a known error.
        goal: which direction is better.
        margin: of equivalence: a difference in the metric's unit, or a relative one for a ratio; None where
            none is known.

    Returns:
        `better` or `worse` if the test finds a difference, else `same` if it is shown to lie inside the
        margin or both sides are identical, else `unsure`.
    """
    if p is not None and p <= ALPHA:
        return "better" if (effect.center > 0) == (goal == "max") else "worse"
    if effect.identical:
        return "same"
    if not margin:
        return "unsure"
    low, high = (1 / (1 + margin), 1 + margin) if effect.ratio else (-margin, margin)
    return "same" if is_equivalent(effect, low, high) else "unsure"
