"""Speed and other numbers of whole trials: a ratio of medians, its interval, and a test against noise.

The interval is the bootstrap's, over trials. With three to five trials, which is what runs can afford, it is
little more than their range and excludes 1 too easily (with two a side in every third comparison of equals);
so the verdict also asks a t test of the logarithms, whose error rate holds from two trials on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.analysis.scoring import Floats
from harness.analysis.statistics import Effect, t_detectable, t_p_value

RESAMPLES: Final = 10_000
_SEED: Final = 20_260_102
_LARGEST_LOGARITHM: Final = 100.0


def compare_trials(
    baseline: Sequence[float], candidate: Sequence[float], *, paired: bool, resamples: int = RESAMPLES
) -> Effect:
    """The ratio of medians, candidate over baseline, from one number a trial, all above zero.

    `paired` says that the two sequences hold the same seeds in the same order and that these were run next to
    each other, so that drift hits both alike: then seeds are resampled together.
    """
    before, after = np.asarray(baseline, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    if min(before.min(), after.min()) <= 0:
        raise ValueError("a ratio needs numbers above zero")
    effect = float(np.median(after) / np.median(before))
    trials = min(before.size, after.size)
    if trials == 1:
        return Effect(effect, ratio=True, reason="one trial: no interval, not a test")
    if np.ptp(before) == 0 and np.ptp(after) == 0:
        identical = bool(before[0] == after[0])
        why = "both are constant and equal" if identical else "neither side varies"
        return Effect(effect, ratio=True, reason=f"{why}: no interval and no p-value", identical=identical)
    ratios = _resampled_ratios(before, after, paired=paired, resamples=resamples)
    low, lower, upper, high = (float(each) for each in np.quantile(ratios, [0.025, 0.05, 0.95, 0.975]))
    error, freedom = _error_of_logarithms(np.log(before), np.log(after), paired=paired)
    tested = error > 0
    mean = float(np.log(after).mean() - np.log(before).mean())
    return Effect(
        effect,
        ratio=True,
        test=("paired t of logarithms" if paired else "Welch's t of logarithms") if tested else None,
        interval=(low, high),
        narrow=(lower, upper),
        p=t_p_value(mean, error, freedom) if tested else None,
        detectable=_exponential(t_detectable(error, freedom)) if tested else None,
        reason=None if tested else "every pair has the same ratio: no p-value",
    )


def _exponential(logarithm: float) -> float | None:
    """A ratio from its logarithm; None beyond any that means something."""
    return math.exp(logarithm) if logarithm < _LARGEST_LOGARITHM else None


def _resampled_ratios(before: Floats, after: Floats, *, paired: bool, resamples: int) -> Floats:
    rows = _draws(before.size, resamples, 0)
    others = rows if paired else _draws(after.size, resamples, 1)
    return np.asarray(np.median(after[others], axis=1) / np.median(before[rows], axis=1))


@lru_cache(maxsize=16)
def _draws(trials: int, resamples: int, stream: int) -> NDArray[np.int64]:
    return np.random.default_rng([_SEED, trials, stream]).integers(0, trials, size=(resamples, trials))


def _error_of_logarithms(before: Floats, after: Floats, *, paired: bool) -> tuple[float, float]:
    """Standard error of the mean log ratio and its degrees of freedom (Welch-Satterthwaite if unpaired)."""
    if paired:
        gaps = after - before
        # Equal ratios of different numbers leave a rounding error that is no spread.
        spread = float(gaps.std(ddof=1))
        return (spread / math.sqrt(gaps.size) if spread > 1e-12 else 0.0), gaps.size - 1.0
    parts = [float(each.var(ddof=1)) / each.size for each in (before, after)]
    uncertainty = sum(part**2 / (each.size - 1) for part, each in zip(parts, (before, after), strict=True))
    total = sum(parts)
    return math.sqrt(total), total**2 / uncertainty if uncertainty > 0 else 1.0
