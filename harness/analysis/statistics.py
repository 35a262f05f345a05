"""Tests that need no resampling: exact McNemar, Holm, equivalence, and the smallest effect a test can see.

`scipy.special` is used rather than `scipy.stats`, which takes three times as long to import; the tests hold
every function here against `scipy.stats`, statsmodels or full enumeration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

ALPHA: Final = 0.05
POWER: Final = 0.80

Floats = NDArray[np.floating[Any]]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect and what may be said of it.

    `value` is the candidate minus the baseline, or the candidate over the baseline where `ratio`.
    `interval` covers 95 %; `narrow` is the one that two one-sided tests at 5 % look at. `detectable` is
    the smallest effect seen with a power of 80 % at 5 %. `reason` says why a part is missing.
    `identical` says that there is no difference at all: the same predictions, or equal constants.
    """

    value: float
    ratio: bool = False
    test: str | None = None
    interval: Interval | None = None
    narrow: Interval | None = None
    p: float | None = None
    detectable: float | None = None
    discordant: tuple[int, int] | None = None
    reason: str | None = None
    identical: bool = False


def mcnemar(lost: int, gained: int) -> float | None:
    """Exact two-sided p of McNemar's test; None without a discordant pair, as then nothing can be tested.

    `lost` examples were right and became wrong, `gained` the other way: under no difference each is a toss
    of a fair coin. Equals `scipy.stats.binomtest(lost, lost + gained).pvalue`.
    """
    if lost + gained == 0:
        return None
    return float(min(1.0, 2 * special.bdtr(min(lost, gained), lost + gained, 0.5)))


@lru_cache(maxsize=4096)
def mcnemar_detectable(examples: int, discordant: int) -> float | None:
    """The smallest difference in accuracy that exact McNemar finds at 5 % with a power of 80 %.

    The share of discordant pairs is taken as seen, or as large as the difference needs. Power is summed over
    the number of discordant pairs. None when even all examples going one way would not be found.
    """
    if _mcnemar_power(1.0, examples, discordant) < POWER:
        return None
    low, high = 0.0, 1.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if _mcnemar_power(middle, examples, discordant) >= POWER else (middle, high)
    return high


def _mcnemar_power(difference: float, examples: int, discordant: int) -> float:
    share = max(discordant / examples, difference)
    gain = (share + difference) / (2 * share)
    reach = 8 * math.sqrt(examples * share * (1 - share)) + 1
    fewest = max(1, math.floor(examples * share - reach))
    counts = np.arange(fewest, min(examples, math.ceil(examples * share + reach)) + 1)
    chance = np.diff(special.bdtr(counts, examples, share), prepend=special.bdtr(fewest - 1, examples, share))
    critical = _critical(counts)
    tested = critical >= 0
    counts, critical = counts[tested], critical[tested]
    gained = special.bdtrc(counts - critical - 1, counts, gain)
    lost = special.bdtr(critical, counts, gain)
    return float(chance[tested] @ (gained + lost))


def _critical(counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each number of discordant pairs the largest smaller count that is significant; -1 for none."""
    # bdtrik inverts the binomial's distribution in its first argument, give or take a rounding.
    top = np.floor(special.bdtrik(ALPHA / 2, counts, 0.5)).astype(np.intp) + 1
    candidates = [top, top - 1, top - 2]
    fits = [
        (smaller >= 0) & (special.bdtr(smaller.clip(0), counts, 0.5) <= ALPHA / 2) for smaller in candidates
    ]
    return np.select(fits, candidates, default=-1)


@lru_cache(maxsize=4096)
def score_interval(lost: int, gained: int, examples: int, coverage: float) -> Interval:
    """Tango's (1998) score interval for the difference in accuracy of two sides on the same examples.

    It holds its error rate with few discordant pairs, and without any, where the bootstrap's is too short.
    """
    critical = float(special.ndtri((1 + coverage) / 2))
    lower = -_score_bound(gained, lost, examples, critical)
    return lower, _score_bound(lost, gained, examples, critical)


def _score_bound(lost: int, gained: int, examples: int, critical: float) -> float:
    """The largest difference that the score test does not refuse; the statistic falls as it grows."""
    low, high = (gained - lost) / examples, 1.0
    while high - low > 1e-7:
        middle = (low + high) / 2
        refused = _tango(lost, gained, examples, middle) < -critical
        low, high = (low, middle) if refused else (middle, high)
    return high


def _tango(lost: int, gained: int, examples: int, difference: float) -> float:
    """The score statistic; the share of lost examples is its maximum likelihood under `difference`."""
    linear = (2 * examples - gained + lost) * difference - lost - gained
    constant = -lost * difference * (1 - difference)
    share = (math.sqrt(max(linear**2 - 8 * examples * constant, 0.0)) - linear) / (4 * examples)
    variance = examples * (2 * share + difference * (1 - difference))
    distance = gained - lost - examples * difference
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment of those that are numbers; None stays None and is not counted."""
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - rank)))
        adjusted[place] = largest
    return adjusted


def is_equivalent(narrow: Interval | None, margin: float) -> bool | None:
    """Two one-sided tests at 5 %: whether their interval lies wholly inside ±margin; None without one."""
    return None if narrow is None else -margin < narrow[0] and narrow[1] < margin


def t_interval(effect: float, error: float, freedom: float, coverage: float) -> Interval:
    """The interval of Student's t with `freedom` degrees of freedom around an effect."""
    half = float(special.stdtrit(freedom, (1 + coverage) / 2)) * error
    return effect - half, effect + half


def t_p_value(effect: float, error: float, freedom: float) -> float:
    """Two-sided p of Student's t; the error must be above zero."""
    return float(2 * special.stdtr(freedom, -abs(effect) / error))


def t_detectable(error: float, freedom: float) -> float:
    """The effect that a two-sided t test at 5 % finds with a power of 80 %, for a given standard error."""
    return error * float(special.stdtrit(freedom, 1 - ALPHA / 2) + special.stdtrit(freedom, POWER))
