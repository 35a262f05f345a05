"""Variance components of an estimated effect: its test, confidence interval and detection limit.

An effect is a mean over a few trials. Two sources of error are estimated apart: the scatter between trials,
known with few degrees of freedom, and a floor that is known well but says nothing about other trials: the
sampling of evaluation examples for quality, the machine's own noise for speed. An effect counts only if it
exceeds both, so a scatter that a few trials underestimate by chance cannot pass for a small error, and the
error rate stays at its nominal level from two trials on.

`scipy.special` is used because `scipy.stats` takes three times as long to import.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.analysis.stats.interaction import Interaction

ALPHA: Final = 0.05
POWER: Final = 0.80
MOST_TRIALS: Final = 200

_NODES: Final = 64
_DIGITS: Final = 3
_LARGEST: Final = 1e6
# The variance of a mean over seeds is rarely more than this multiple of its least value.
_USUAL: Final = 5.0
# In standard errors: with 3 paired seeds the critical value of four tests together is larger.
_MOST_CRITICAL: Final = 8.0
# No error is below this share of the estimated variance, so that a scatter of zero divides by none.
_TINY: Final = 1e-6

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Part:
    """An estimated variance and its degrees of freedom."""

    variance: float
    freedom: float


@dataclass(frozen=True, slots=True)
class Components:
    """The variance of an effect by source, in the squared unit of the effect.

    `between` is the variance of the mean over trials, estimated from their scatter. `added` are further
    sources that more trials do not reduce: how a recipe interacts with the examples, or a machine that
    differs from run to run. `floor` bounds the total from below; `least` is the part of it that is also in
    `between`, and shrinks with more trials. `most_freedom` bounds the degrees of freedom of the total, for an
    added source that is known from two or three values: Satterthwaite's would be too many where these happen
    to be close to each other. `interaction` is what an effect adds that is larger than the one observed.
    """

    between: Part
    added: tuple[Part, ...] = ()
    floor: float = 0.0
    least: float = 0.0
    most_freedom: float = math.inf
    interaction: Interaction | None = None

    @property
    def error(self) -> float:
        """The standard error."""
        return float(np.sqrt(max(self.between.variance + self._added_variance, self.floor)))

    @property
    def _added_variance(self) -> float:
        return sum(part.variance for part in self.added)

    def half_width(self, alpha: float) -> float:
        """Return half the width of the two-sided confidence interval at `1 - alpha`.

        >>> round(Components(Part(variance=0.0001, freedom=4)).half_width(0.05), 4)
        0.0278
        """
        return float(self._half_widths(np.asarray(self.between.variance), alpha))

    def p_value(self, distance: float) -> float:
        """Two-sided p of an effect at this distance from the null hypothesis."""
        return min(1.0, 2 * self.one_sided(abs(distance)))

    def one_sided(self, distance: float) -> float:
        """One-sided p of an effect this far beyond the null hypothesis (negative: on its near side)."""
        total, freedom = self._totals(np.asarray(self.between.variance))
        if total == 0 and self.floor == 0:
            raise ValueError("an effect without any variance has no p-value")
        found = [float(special.stdtr(freedom, -distance / np.sqrt(total)))] if total > 0 else []
        if self.floor > 0:
            found.append(float(special.ndtr(-distance / np.sqrt(self.floor))))
        return max(found)

    def detectable(self, alpha: float, reach: float = math.inf) -> float | None:
        """The effect that as many new trials find with a power of 80 % in a two-sided test at `alpha`.

        The scatter of a few trials may be far too small by chance, so it is enlarged (`_caution`) such that
        the power, averaged over repeated experiments, is 80 %. None with less than two degrees of freedom,
        where a variance may be off by any factor, and where no effect up to `reach` would be found
        (`_within`). An effect beyond `reach`, the largest possible one, is printed as that one: left out,
        the estimates that are too small by luck would be the only ones to print an effect.
        """
        if self.between.freedom < 2 or self.error == 0 or not self._within(reach, alpha):
            return None
        variance = self.between.variance * _caution(_rounded(self.between.freedom), _rounded(alpha))
        found = _effect_with_power(lambda effect: self.power(effect, variance, alpha), self.error)
        return None if found is None else min(found, reach)

    def _within(self, reach: float, alpha: float) -> bool:
        """Whether an effect of at most `reach` is found with a power of 80 %.

        The estimated scatter alone cannot show that: in two or three trials it is often far too small. So
        the effect must also be found at `_USUAL` times the least variance, and the critical value of the test
        must not be so large (`_MOST_CRITICAL`) that a verdict is a matter of luck.
        """
        if reach == math.inf:
            return True
        if special.stdtrit(self.between.freedom, 1 - alpha / 2) > _MOST_CRITICAL:
            return False
        variances = (self.between.variance, _USUAL * self.least)
        return all(self.power(reach, variance, alpha) >= POWER for variance in variances)

    def trials_for(self, effect: float, trials: int, alpha: float) -> int | None:
        """How many trials a side find this effect with a power of 80 %, with the variances as estimated.

        None where `MOST_TRIALS` are not enough. `trials` is how many a side there are now.
        """
        for wanted in range(3, MOST_TRIALS + 1):
            planned = self.scaled(trials, wanted)
            variance = max(planned.between.variance, planned.least)
            if planned.power(effect, variance, alpha) >= POWER:
                return wanted
        return None

    def scaled(self, trials: int, wanted: int) -> Components:
        """The components that the same variances would give with another number of trials."""
        share = trials / wanted
        # With one trial a side the variance comes from other trials, which the wanted ones replace.
        freedom = self.between.freedom / (trials - 1) if trials > 1 else 1.0
        return replace(
            self,
            between=Part(self.between.variance * share, max(freedom, 1.0) * (wanted - 1)),
            floor=self.floor - self.least * (1 - share),
            least=self.least * share,
        )

    def power(self, effect: float, variance: float, alpha: float) -> float:
        """The power at an effect if the true variance between trials is `variance`."""
        uneven = self._at(effect)
        if uneven is not self:
            return uneven.power(effect, variance, alpha)
        widths = self._half_widths(variance * _scatter(self.between.freedom), alpha)
        error = np.sqrt(max(variance + self._added_variance, _TINY * self.error**2))
        found = special.ndtr((effect - widths) / error) + special.ndtr((-effect - widths) / error)
        return float(found.mean())

    def _at(self, effect: float) -> Components:
        """The components with at least the interaction that an effect of this size brings."""
        known = self._added_variance
        expected = 0.0 if self.interaction is None else self.interaction.variance(effect)
        if self.interaction is None or expected <= known:
            return self
        added = Part(expected, self.interaction.examples - 1.0)
        return replace(self, added=(added,), floor=self.floor + expected - known)

    def _totals(self, between: Floats) -> tuple[Floats, Floats]:
        """The total variance and its degrees of freedom (Satterthwaite), for estimates of `between`."""
        total = between + self._added_variance
        uncertainty = between**2 / self.between.freedom
        for part in self.added:
            uncertainty = uncertainty + part.variance**2 / part.freedom
        freedom = np.where(uncertainty > 0, total**2 / np.where(uncertainty > 0, uncertainty, 1.0), 1.0)
        return total, np.minimum(freedom, self.most_freedom)

    def _half_widths(self, between: Floats, alpha: float) -> Floats:
        total, freedom = self._totals(between)
        by_trials = special.stdtrit(freedom, 1 - alpha / 2) * np.sqrt(total)
        by_floor = special.ndtri(1 - alpha / 2) * np.sqrt(self.floor)
        return np.asarray(np.maximum(by_trials, by_floor))


def _effect_with_power(power: Callable[[float], float], error: float) -> float | None:
    """The effect with a power of 80 %, None where it is beyond any multiple of the standard error."""
    low, high = 0.0, 4.0 * error
    while power(high) < POWER:
        low, high = high, 2 * high
        if high > _LARGEST * error:
            return None
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


@lru_cache(maxsize=4096)
def _caution(freedom: float, alpha: float) -> float:
    """By what to multiply an estimated variance to find the effect that has 80 % power on average.

    An effect that is a multiple of the estimated standard error has a power that depends on the estimate. The
    multiple whose power is 80 % on average over the estimates is compared with the effect whose power is 80 %
    at the true variance. A floor makes the average power larger, by at most two points.
    """
    scatter = _scatter(freedom)
    widths = special.stdtrit(freedom, 1 - alpha / 2) * np.sqrt(scatter)

    def power(effects: Floats) -> float:
        found = special.ndtr(effects[:, None] - widths) + special.ndtr(-effects[:, None] - widths)
        return float(found.mean())

    known = _effect_with_power(lambda effect: power(np.asarray([effect])), 1.0)
    estimated = _effect_with_power(lambda effect: power(effect * np.sqrt(scatter)), 1.0)
    if known is None or estimated is None:
        return 1.0
    return (estimated / known) ** 2


@lru_cache(maxsize=4096)
def _scatter(freedom: float) -> Floats:
    """Quantiles of an estimated variance over the true one."""
    shares = (np.arange(_NODES) + 0.5) / _NODES
    return np.asarray(2 * special.gammaincinv(freedom / 2, shares) / freedom)


def _rounded(value: float) -> float:
    """A value to three significant digits."""
    return float(f"{value:.{_DIGITS - 1}e}")
