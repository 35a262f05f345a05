"""Verdicts: classify an effect by its statistics only."""

from __future__ import annotations

from harness.analysis.comparison.models import Verdict
from harness.analysis.stats.components import ALPHA
from harness.analysis.stats.tests import Effect, is_equivalent
from harness.model.metrics import Goal


def verdict_of_effect(effect: Effect, p: float | None, goal: Goal, margin: float | None) -> Verdict:
    """Return the verdict on a difference of scores or a ratio of numbers of whole trials.

    Args:
        effect: candidate minus baseline, or candidate over baseline.
        p: adjusted over the table; None if the error is unknown.
        goal: which direction is better.
        margin: of equivalence: a difference in the metric's unit, or a relative one for a ratio; None if
            unknown.

    Returns:
        `better` or `worse` if the test finds a difference, else `same` if the effect is shown to be inside
        the margin or both sides are identical, else `unsure`.
    """
    if p is not None and p <= ALPHA:
        return "better" if (effect.center > 0) == (goal == "max") else "worse"
    if effect.identical:
        return "same"
    if not margin:
        return "unsure"
    return "same" if is_equivalent(effect, *equivalence_limits(effect, margin)) else "unsure"


def equivalence_limits(effect: Effect, margin: float) -> tuple[float, float]:
    """Return the smallest and the largest effect inside a margin: two ratios, or two differences."""
    return ratio_limits(margin) if effect.ratio else (-margin, margin)


def ratio_limits(band: float) -> tuple[float, float]:
    """Return the smallest and the largest ratio inside a relative band."""
    return 1 / (1 + band), 1 + band
