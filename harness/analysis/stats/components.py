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
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

ALPHA: Final = 0.05
POWER: Final = 0.80
MOST_TRIALS: Final = 200

_NODES: Final = 24
_DIGITS: Final = 3
_LARGEST: Final = 1e6

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
    to be close to each other.
    """

    between: Part
    added: tuple[Part, ...] = ()
    floor: float = 0.0
    least: float = 0.0
    most_freedom: float = math.inf

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

    def detectable(self, alpha: float) -> float | None:
        """The effect that as many new trials find with a power of 80 % in a two-sided test at `alpha`.

        The scatter is an estimate: power is averaged over the variances that are compatible with it, weighted
        so that the average over repeated experiments is 80 % (`tools/simulate`). None with one degree of
        freedom, where a variance may be off by any factor, and where no effect would be found.
        """
        if self.between.freedom < 2:
            return None
        scale = self.error
        if scale == 0:
            return None
        found = _detectable(self._in_units_of(scale**2), _rounded(alpha))
        return None if found is None else found * scale

    def _in_units_of(self, unit: float) -> Components:
        """The components over a variance, rounded so that equal situations share one computation."""
        return Components(
            Part(_rounded(self.between.variance / unit), _rounded(self.between.freedom)),
            tuple(Part(_rounded(part.variance / unit), _rounded(part.freedom)) for part in self.added),
            floor=_rounded(self.floor / unit),
            least=_rounded(min(self.least, self.floor) / unit),
            most_freedom=self.most_freedom,
        )

    def trials_for(self, effect: float, trials: int, alpha: float) -> int | None:
        """How many trials a side find this effect with a power of 80 %, with the variances as estimated.

        None where `MOST_TRIALS` are not enough. `trials` is how many a side there are now.
        """
        for wanted in range(3, MOST_TRIALS + 1):
            planned = self.scaled(trials, wanted)
            variance = max(planned.between.variance, planned.least)
            if planned.power(effect, np.asarray([variance]), alpha) >= POWER:
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

    def power(self, effect: float, variances: Floats, alpha: float) -> float:
        """The power at an effect, averaged over true variances between trials of shape (V,)."""
        estimates = variances[:, None] * _scatter(self.between.freedom)[None, :]
        widths = self._half_widths(estimates, alpha)
        errors = np.sqrt(np.maximum(variances + self._added_variance, self.floor))[:, None]
        found = special.ndtr((effect - widths) / errors) + special.ndtr((-effect - widths) / errors)
        return float(found.mean())

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


@lru_cache(maxsize=1 << 16)
def _detectable(components: Components, alpha: float) -> float | None:
    """`Components.detectable` in units of the standard error."""
    between, least = components.between, components.least
    variances = _plausible(between.variance, least, between.freedom)
    low, high = 0.0, 4.0
    while components.power(high, variances, alpha) < POWER:
        low, high = high, 2 * high
        if high > _LARGEST:
            return None
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        enough = components.power(middle, variances, alpha) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def _plausible(estimate: float, least: float, freedom: float) -> Floats:
    """True variances compatible with an estimate and not below `least`: quantiles of their distribution.

    The precision (one over the variance) given the estimate follows a gamma distribution with shape
    `freedom / 2`, cut off at `1 / least`. The cut makes variances look larger than they are, the more the
    closer the estimate is to it. An addition to the shape offsets that: it brings the power at the printed
    effect from 90 % to 80 %, for 3 to 10 seeds (`docs/error-rates.md`).
    """
    shape, rate = freedom / 2, freedom * estimate / 2
    if least > 0:
        shape += 4 / freedom * min(least / max(estimate, least), 1.0)
    shares = (np.arange(_NODES) + 0.5) / _NODES
    least = max(least, 1e-9)
    if rate / least < 1e-9:
        return np.asarray(least / shares ** (1 / shape))
    within = special.gammainc(shape, rate / least)
    return np.asarray(rate / special.gammaincinv(shape, shares * within))


@lru_cache(maxsize=4096)
def _scatter(freedom: float) -> Floats:
    """Quantiles of an estimated variance over the true one."""
    shares = (np.arange(_NODES) + 0.5) / _NODES
    return np.asarray(2 * special.gammaincinv(freedom / 2, shares) / freedom)


def _rounded(value: float) -> float:
    """A value to three significant digits."""
    return float(f"{value:.{_DIGITS - 1}e}")
