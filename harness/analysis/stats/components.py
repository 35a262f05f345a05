"""Variance components of an estimated effect: its test, confidence interval and detection limit.

An effect is a mean over a few trials. Two sources of error are estimated separately: the scatter between
trials, with few degrees of freedom, and a floor that is known precisely but does not cover other trials (the
sampling of evaluation examples for quality, machine noise for speed). An effect is significant only if it
exceeds both. Underestimating the scatter of a few trials by chance then does not yield a small error, and the
error rate stays at its nominal level from two trials on.

`scipy.special` is used because `scipy.stats` takes three times as long to import.

An effect that has not been observed yet spreads unevenly over the examples. Examples that every seed
classifies the same way hardly react to a small change of the recipe; examples that seeds classify differently
do. So an effect adds an interaction of recipe and examples: a variance that more seeds do not reduce and that
is zero for equal recipes. A detection limit that omits it is too small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

# For examples with any probability of being right between 0 and 1, as likely as their mean discordance
# allows, a change of all logits or probits by the same amount affects this multiple of the discordance.
_SENSITIVE: Final = 3.0


@dataclass(frozen=True, slots=True)
class Interaction:
    """The variance that an effect adds because it is spread unevenly over the examples.

    `discordance` is the share of examples that exactly one of two seeds of a recipe classifies correctly,
    `unit` the change of the score for a change of 1 in accuracy, and `examples` the number of examples.
    """

    discordance: float
    unit: float
    examples: int

    def variance(self, effect: float) -> float:
        """Return the variance of a score difference, in squared units, due to examples at this effect.

        The effect is spread over the sensitive examples. A large effect flips some of them entirely and also
        affects examples that seeds agree on, so its size is added to their share.

        >>> round(408 * Interaction(0.08, 1.0, 408).variance(0.05), 4)
        0.0061
        """
        change = abs(effect) / self.unit
        if change == 0:
            return 0.0
        share = min(_SENSITIVE * self.discordance + change, 1.0)
        return self.unit**2 * change * (change / share) * (1 - share) / self.examples


def interaction(
    right: Sequence[NDArray[np.bool_]], scores: Callable[[int], NDArray[Any]]
) -> Interaction | None:
    """Estimate the interaction from recipes with several seeds; None if all seeds agree.

    Args:
        right: for each recipe which examples each seed got right, (S, N).
        scores: returns for a recipe the scores of each seed in resamples of the examples, (S, R).
    """
    several = [place for place, each in enumerate(right) if len(each) > 1]
    if not several:
        return None
    examples = right[0].shape[1]
    of_accuracy = float(np.mean([right[place].var(axis=0, ddof=1).mean() for place in several])) / examples
    of_score = float(np.mean([_residual(scores(place)) for place in several]))
    if of_accuracy == 0 or of_score == 0:
        return None
    return Interaction(2 * of_accuracy * examples, float(np.sqrt(of_score / of_accuracy)), examples)


def _residual(drawn: NDArray[Any]) -> float:
    """Return the mean variance over resamples of the deviations from the mean over seeds; drawn (S, R)."""
    seeds = len(drawn)
    return float((drawn - drawn.mean(axis=0)).var(axis=1).mean()) * seeds / (seeds - 1)


ALPHA: Final = 0.05
POWER: Final = 0.80
MOST_TRIALS: Final = 200
_LEAST_TRIALS: Final = 3

_NODES: Final = 64
_DIGITS: Final = 3
_LARGEST: Final = 1e6
# The variance of a mean over seeds is rarely more than this multiple of its lower bound.
_USUAL: Final = 5.0
# In standard errors: with 3 paired seeds the critical value of four tests together is larger.
_MOST_CRITICAL: Final = 8.0
# Lower bound of the error as a share of the estimated variance; avoids division by a scatter of zero.
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
    sources that more trials do not reduce: the interaction of recipe and examples, or the variance of the
    machine between runs. `floor` bounds the total from below; `least` is the part of it that is also in
    `between`, and shrinks with more trials. `most_freedom` bounds the degrees of freedom of the total, for an
    added source estimated from two or three values: Satterthwaite's formula gives too many if these happen to
    be close. `interaction` gives the variance added by an effect larger than the observed one.
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
        return float(np.sqrt(max(self.between.variance + self.added_variance, self.floor)))

    @property
    def added_variance(self) -> float:
        """The variance that more trials do not reduce."""
        return sum(part.variance for part in self.added)

    def half_width(self, alpha: float) -> float:
        """Return half the width of the two-sided confidence interval at `1 - alpha`.

        >>> round(Components(Part(variance=0.0001, freedom=4)).half_width(0.05), 4)
        0.0278
        """
        return float(self.half_widths(np.asarray(self.between.variance), alpha))

    def p_value(self, distance: float) -> float:
        """Return the two-sided p of an effect at this distance from the null hypothesis."""
        return min(1.0, 2 * self.one_sided(abs(distance)))

    def one_sided(self, distance: float) -> float:
        """Return the one-sided p of an effect this far beyond the null hypothesis (negative: within it)."""
        total, freedom = self._totals(np.asarray(self.between.variance))
        if total == 0 and self.floor == 0:
            raise ValueError("an effect without any variance has no p-value")
        found = [float(special.stdtr(freedom, -distance / np.sqrt(total)))] if total > 0 else []
        if self.floor > 0:
            found.append(float(special.ndtr(-distance / np.sqrt(self.floor))))
        return max(found)

    def detectable(self, alpha: float, reach: float = math.inf) -> float | None:
        """Return the effect that the same number of new trials detects with 80 % power (two-sided, `alpha`).

        The scatter of a few trials may be far too small by chance, so it is enlarged (`_caution`) such that
        the power, averaged over repeated experiments, is 80 %. None with less than two degrees of freedom,
        where a variance may be off by any factor, and if no effect up to `reach` would be detected
        (`_within`). An effect beyond `reach`, the largest possible one, is reported as `reach`; otherwise
        only estimates that are too small by chance would report an effect.
        """
        if self.between.freedom < 2 or self.error == 0 or not self._within(reach, alpha):
            return None
        variance = self.between.variance * _caution(_rounded(self.between.freedom), _rounded(alpha))
        found = _effect_with_power(lambda effect: self.power(effect, variance, alpha), self.error)
        return None if found is None else min(found, reach)

    def _within(self, reach: float, alpha: float) -> bool:
        """Return whether an effect of at most `reach` is detected with a power of 80 %.

        The estimated scatter is not sufficient: in two or three trials it is often far too small. So
        the effect must also be detected at `_USUAL` times the least variance, and the critical value of the
        test must not be so large (`_MOST_CRITICAL`) that the verdict depends on chance.
        """
        if reach == math.inf:
            return True
        if special.stdtrit(self.between.freedom, 1 - alpha / 2) > _MOST_CRITICAL:
            return False
        variances = (self.between.variance, _USUAL * self.least)
        return all(self.power(reach, variance, alpha) >= POWER for variance in variances)

    def trials_for(self, effect: float, trials: int, alpha: float) -> int | None:
        """Return the number of trials per side that detects this effect with 80 % power at these variances.

        None if `MOST_TRIALS` are not enough. `trials` is the present number per side.
        """

        def suffices(wanted: int) -> bool:
            planned = self.scaled(trials, wanted)
            variance = max(planned.between.variance, planned.least)
            return planned.power(effect, variance, alpha) >= POWER

        numbers = range(_LEAST_TRIALS, MOST_TRIALS + 1)
        if suffices(MOST_TRIALS):
            return _first(suffices, self._guess(effect, trials, alpha))
        # With few degrees of freedom of another part, more trials leave the total with few and detect less.
        if all(part.freedom >= MOST_TRIALS for part in self.added):
            return None
        return next(filter(suffices, numbers), None)

    def _guess(self, effect: float, trials: int, alpha: float) -> int:
        """Return about how many trials detect the effect: as if variances were known, and a few for them.

        The few are those of Guenther (1981) for a test by t in place of z.
        """
        critical = float(special.ndtri(1 - alpha / 2))
        known = (effect / (critical + special.ndtri(POWER))) ** 2
        room = known - self.at(effect).added_variance
        wanted = max(self.between.variance, self.least) * trials / room if room > 0 else math.inf
        few = critical**2 / (2 * self._freedom_each(trials))
        return int(min(max(wanted + few, _LEAST_TRIALS), MOST_TRIALS - 1))

    def _freedom_each(self, trials: int) -> float:
        """Return the degrees of freedom of one more trial per side."""
        # With one trial per side the variance comes from other trials, which the new ones replace.
        return max(self.between.freedom / (trials - 1), 1.0) if trials > 1 else 1.0

    def scaled(self, trials: int, wanted: int) -> Components:
        """Return the components for another number of trials with the same variances."""
        share = trials / wanted
        return replace(
            self,
            between=Part(self.between.variance * share, self._freedom_each(trials) * (wanted - 1)),
            floor=self.floor - self.least * (1 - share),
            least=self.least * share,
        )

    def power(self, effect: float, variance: float, alpha: float) -> float:
        """Return the power at an effect if the true variance between trials is `variance`."""
        uneven = self.at(effect)
        if uneven is not self:
            return uneven.power(effect, variance, alpha)
        widths, error = _widths(self, variance, alpha)
        found = special.ndtr((effect - widths) / error) + special.ndtr((-effect - widths) / error)
        return float(found.mean())

    def at(self, effect: float) -> Components:
        """Return the components with at least the interaction of an effect of this size."""
        known = self.added_variance
        expected = 0.0 if self.interaction is None else self.interaction.variance(effect)
        if self.interaction is None or expected <= known:
            return self
        added = Part(expected, self.interaction.examples - 1.0)
        return replace(self, added=(added,), floor=self.floor + expected - known)

    def _totals(self, between: Floats) -> tuple[Floats, Floats]:
        """Return the total variance and its degrees of freedom (Satterthwaite) for values of `between`."""
        total = between + self.added_variance
        uncertainty = between**2 / self.between.freedom
        for part in self.added:
            uncertainty = uncertainty + part.variance**2 / part.freedom
        freedom = np.where(uncertainty > 0, total**2 / np.where(uncertainty > 0, uncertainty, 1.0), 1.0)
        return total, np.minimum(freedom, self.most_freedom)

    def half_widths(self, between: Floats, alpha: float) -> Floats:
        """Return half the widths of the intervals at `1 - alpha` for values of `between`."""
        total, freedom = self._totals(between)
        by_trials = special.stdtrit(freedom, 1 - alpha / 2) * np.sqrt(total)
        by_floor = special.ndtri(1 - alpha / 2) * np.sqrt(self.floor)
        return np.asarray(np.maximum(by_trials, by_floor))


def _first(suffices: Callable[[int], bool], guess: int) -> int:
    """Return the first number of trials that suffices, as `MOST_TRIALS` do: near the guess in a few steps."""
    below, enough, at, step = _LEAST_TRIALS - 1, MOST_TRIALS, guess, 1
    while enough - below > 1:
        if not below < at < enough:
            at = (below + enough) // 2
        if suffices(at):
            enough, at = at, at - step
        else:
            below, at = at, at + step
        step *= 2
    return enough


@lru_cache(maxsize=64)
def _widths(components: Components, variance: float, alpha: float) -> tuple[Floats, float]:
    """Return half the widths of intervals that may be estimated, and the true error, for any effect."""
    widths = components.half_widths(variance * _scatter(components.between.freedom), alpha)
    least = _TINY * components.error**2
    return widths, float(np.sqrt(max(variance + components.added_variance, least)))


def _effect_with_power(power: Callable[[float], float], error: float) -> float | None:
    """Return the effect with a power of 80 %, or None if it exceeds `_LARGEST` standard errors."""
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
    """Return the factor on an estimated variance that gives the effect with 80 % power on average.

    The power of an effect at a multiple of the estimated standard error depends on the estimate. The factor
    compares the multiple with 80 % power on average over the estimates to the effect with 80 % power at the
    true variance. A floor makes the average power larger, by at most two points.
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
    """Return quantiles of the ratio of an estimated variance to the true one."""
    shares = (np.arange(_NODES) + 0.5) / _NODES
    return np.asarray(2 * special.gammaincinv(freedom / 2, shares) / freedom)


def _rounded(value: float) -> float:
    """Round a value to three significant digits."""
    return float(f"{value:.{_DIGITS - 1}e}")
