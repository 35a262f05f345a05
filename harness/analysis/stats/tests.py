"""Effects and their tests: exact McNemar, Holm's adjustment, confidence intervals and equivalence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scipy import special

from harness.analysis.stats.components import ALPHA, Components

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Effect:
    """An estimated effect and its error.

    `value` is the candidate minus the baseline, or the ratio of their medians where `ratio`. The test is
    centred at `center`: the difference, or the mean logarithm of the ratio. `components` is None if the error
    is unknown; `reason` then states why. `bounds` are the smallest and the largest difference that the range
    of the metric permits for this baseline, `reach` the largest relevant one: up to the end of the range, or
    down to the score of a constant prediction. `trials` counts trials on the smaller side.
    `pair_p` tests this pair of models on these examples, which does not cover another seed. `identical`
    means that both sides are equal in every example or trial. `lacks` names the variance that earlier runs
    could provide, over the seeds of a recipe or between separate runs, or the scatter that no trial has.
    """

    value: float
    ratio: bool = False
    center: float = 0.0
    test: str | None = None
    components: Components | None = None
    bounds: Interval = (-math.inf, math.inf)
    reach: float = math.inf
    trials: int = 1
    pair_p: float | None = None
    discordant: tuple[int, int] | None = None
    reason: str | None = None
    identical: bool = False
    lacks: Literal["seeds", "runs", "scatter"] | None = None

    @property
    def p(self) -> float | None:
        """Two-sided p against no effect; None if the error is unknown."""
        return None if self.components is None else self.components.p_value(self.center)

    def interval(self, alpha: float) -> Interval | None:
        """Return the two-sided confidence interval at `1 - alpha`, limited to the bounds."""
        if self.components is None:
            return None
        half = self.components.half_width(alpha)
        low, high = self._shown(self.center - half), self._shown(self.center + half)
        return max(low, self.bounds[0]), min(high, self.bounds[1])

    def detectable(self, alpha: float) -> float | None:
        """Return the smallest effect detected with 80 % power at `alpha`: a difference, or a ratio above 1.

        None if no possible effect would be detected.
        """
        if self.components is None:
            return None
        if not self.ratio:
            return self.components.detectable(alpha, self.reach)
        found = self.components.detectable(alpha)
        return None if found is None or found > math.log(self.reach) else self._shown(found)

    def trials_for(self, effect: float, alpha: float) -> int | None:
        """Return the number of trials per side that detects this difference, or ratio above 1, at `alpha`."""
        if self.components is None or effect <= (1 if self.ratio else 0):
            return None
        return self.components.trials_for(math.log(effect) if self.ratio else effect, self.trials, alpha)

    def p_above(self, limit: float) -> float | None:
        """Return the one-sided p against an effect of at most `limit`: small if the effect exceeds it."""
        return None if self.components is None else self.components.one_sided(self._distance(limit))

    def p_below(self, limit: float) -> float | None:
        """Return the one-sided p against an effect of at least `limit`: small if the effect is below it."""
        return None if self.components is None else self.components.one_sided(-self._distance(limit))

    def at(self, limit: float) -> Effect:
        """Return the effect with the error that it would have if the true one were at this limit.

        An effect on a score varies with the examples, the more the larger it is. Ratios are unchanged.
        """
        if self.components is None or self.ratio:
            return self
        return replace(self, components=self.components.at(abs(limit)))

    def _distance(self, limit: float) -> float:
        if not self.ratio:
            return self.center - limit
        return math.inf if limit <= 0 else self.center - math.log(limit)

    def _shown(self, centered: float) -> float:
        # A ratio beyond e^100 is meaningless, and e^710 overflows.
        return math.exp(min(centered, 100.0)) if self.ratio else centered


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A p-value adjusted for a whole table, and the equivalent level of the unadjusted test of the row."""

    p: float
    alpha: float


def mcnemar(lost: int, gained: int) -> float | None:
    """Return the exact two-sided p of McNemar's test; None without a discordant pair.

    `lost` examples changed from right to wrong, `gained` from wrong to right: without a difference, both
    directions are equally likely. Equals `scipy.stats.binomtest(lost, lost + gained).pvalue`.

    >>> round(mcnemar(1, 7), 4)
    0.0703
    """
    if lost + gained == 0:
        return None
    return float(min(1.0, 2 * special.bdtr(min(lost, gained), lost + gained, 0.5)))


def holm(p_values: Sequence[float | None], alpha: float = ALPHA) -> list[Adjusted | None]:
    """Adjust p-values by Holm's step-down procedure; None stays None and is not counted.

    >>> [round(each.p, 3) for each in holm([0.01, 0.04])]
    [0.02, 0.04]
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[Adjusted | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(tested):
        factor = len(tested) - rank
        largest = max(largest, p * factor)
        # Divide first: a product with the smallest p-values would underflow.
        level = alpha * min(p / largest, 1.0) if largest > 0 else alpha / factor
        adjusted[place] = Adjusted(min(1.0, largest), level)
    return adjusted


def open_alpha(adjusted: Sequence[Adjusted | None], alpha: float = ALPHA) -> float:
    """Return the level for detecting a further effect among the rows not rejected by Holm's procedure."""
    left = sum(each is not None and each.p > alpha for each in adjusted)
    return alpha / max(left, 1)


def is_equivalent(effect: Effect, low: float, high: float, alpha: float = ALPHA) -> bool | None:
    """Return whether two one-sided tests at `alpha` show an effect inside both limits; None without an error.

    At 5 % equivalent to a 90 % confidence interval inside the limits (Schuirmann 1987).
    """
    effect = effect.at(high)
    above, below = effect.p_above(low), effect.p_below(high)
    return None if above is None or below is None else max(above, below) <= alpha
