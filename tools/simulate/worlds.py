"""Worlds of known truth: classifiers that differ by seed on MRPC's numbers, and machines that drift."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, optimize, special

EXAMPLES: Final = 408
POSITIVE: Final = 279
LABELS: Final = np.concatenate(
    [np.ones(POSITIVE, dtype=np.int64), np.zeros(EXAMPLES - POSITIVE, dtype=np.int64)]
)

_GRID: Final = 20_000
_SMALLEST: Final = 1e-12
# Between these a cubic spline of the expected accuracy is right to 1e-7.
_SHIFTS: Final = np.linspace(-9.0, 9.0, 145)

# From 84 % no gain can be larger, and after a larger drop a classifier does not work any more.
LARGEST_GAIN: Final = 0.155
LARGEST_DROP: Final = 0.34

Integers = NDArray[np.integer[Any]]
Draw = np.random.Generator


@dataclass(frozen=True)
class QualityWorld:
    """Trained classifiers on 408 examples, of which 279 are positive.

    Each example has a probability of being classified right, drawn from a beta distribution, which a seed
    shifts. `accuracy` is the mean, `discordance` the share of examples on which two runs of one recipe
    differ in being right, apart from seeds, and `seed_sd` the standard deviation of the true accuracy over
    seeds.
    """

    accuracy: float = 0.84
    discordance: float = 0.08
    seed_sd: float = 0.012

    @cached_property
    def _shape(self) -> tuple[float, float]:
        share = self.discordance / (2 * self.accuracy * (1 - self.accuracy))
        total = share / (1 - share)
        return self.accuracy * total, (1 - self.accuracy) * total

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """Quantiles of the examples' probits of being classified right."""
        shares = (np.arange(_GRID) + 0.5) / _GRID
        right = special.betaincinv(*self._shape, shares)
        return np.asarray(special.ndtri(np.clip(right, _SMALLEST, 1 - _SMALLEST)))

    @cached_property
    def _luck_sd(self) -> float:
        slope = np.exp(-(self.scores**2) / 2).mean() / np.sqrt(2 * np.pi)
        return float(self.seed_sd / slope)

    def _accuracy_at(self, shift: float) -> float:
        return float(special.ndtr(self.scores + shift).mean())

    @cached_property
    def _accuracies(self) -> interpolate.CubicSpline:
        return interpolate.CubicSpline(_SHIFTS, [self._accuracy_at(shift) for shift in _SHIFTS])

    def shift(self, change: float) -> float:
        """The shift of every example that changes the expected accuracy by this much."""
        due = self._accuracy_at(0.0) + change
        return float(optimize.brentq(lambda by: self._accuracies(by) - due, _SHIFTS[0], _SHIFTS[-1]))

    def change(self, metric: str, effect: float) -> float:
        """The change of accuracy that changes the expected score of a metric by this effect.

        An effect beyond `LARGEST_GAIN` or `LARGEST_DROP` becomes that gain or drop.
        """
        base = expected_score(metric, self.accuracy)
        most = LARGEST_GAIN if effect > 0 else -LARGEST_DROP
        if abs(expected_score(metric, self.accuracy + most) - base) <= abs(effect):
            return most
        return float(
            optimize.brentq(
                lambda by: expected_score(metric, self.accuracy + by) - base - effect, *sorted((0.0, most))
            )
        )

    def draw(self, random: Draw, before: int, after: int, shift: float = 0.0) -> tuple[Integers, Integers]:
        """Predictions of both sides, (before, N) and (after, N); the candidate is shifted."""
        scores = self._examples(random)
        return self._side(random, scores, before), self._side(random, scores + shift, after)

    def draw_several(self, random: Draw, seeds: int, shifts: Sequence[float]) -> list[Integers]:
        """Predictions of one variant for each shift, on the same examples, (seeds, N)."""
        scores = self._examples(random)
        return [self._side(random, scores + shift, seeds) for shift in shifts]

    def _examples(self, random: Draw) -> NDArray[np.float64]:
        right = np.clip(random.beta(*self._shape, EXAMPLES), _SMALLEST, 1 - _SMALLEST)
        return np.asarray(special.ndtri(right))

    def _side(self, random: Draw, scores: NDArray[np.float64], seeds: int) -> Integers:
        luck = random.normal(0, self._luck_sd, (seeds, 1))
        right = random.normal(size=(seeds, EXAMPLES)) < scores + luck
        return np.where(right, LABELS, 1 - LABELS)


def expected_score(metric: str, accuracy: float) -> float:
    """The score of expected counts, where both classes are classified with this accuracy."""
    negative = EXAMPLES - POSITIVE
    hits, rejected = POSITIVE * accuracy, negative * accuracy
    missed, alarms = POSITIVE - hits, negative - rejected
    match metric:
        case "eval_accuracy":
            return accuracy
        case "eval_f1":
            return 2 * hits / (2 * hits + missed + alarms)
        case "eval_mcc":
            spread = (hits + alarms) * POSITIVE * negative * (missed + rejected)
            return float((hits * rejected - missed * alarms) / np.sqrt(spread))
    raise ValueError(f"no expected score of {metric}")


@dataclass(frozen=True)
class SpeedWorld:
    """Trials of equal programs on one machine, as times.

    `noise` is the relative standard deviation of a trial, `state` that of the machine between runs. `drift`
    is by how much the machine slows from the first to the last trial of a run. `heavy` gives a trial in ten
    five times the noise.
    """

    noise: float = 0.03
    state: float = 0.0
    drift: float = 0.0
    heavy: bool = False

    def run(
        self, random: Draw, variants: int, trials: int, order: Callable[[int, int], list[int]]
    ) -> NDArray[np.float64]:
        """Times of one run, (variants, trials); `order` gives the variants' order for each seed."""
        times = np.empty((variants, trials))
        state = random.normal(0, self.state)
        total = max(variants * trials - 1, 1)
        place = 0
        for seed in range(trials):
            for variant in order(seed, variants):
                slow = np.log1p(self.drift * place / total)
                times[variant, seed] = np.exp(state + slow + self._noise(random))
                place += 1
        return times

    def _noise(self, random: Draw) -> float:
        wide = 5.0 if self.heavy and random.random() < 0.1 else 1.0
        return float(random.normal(0, self.noise * wide))


def alternating(seed: int, variants: int) -> list[int]:
    """The order of a plan: variants in turn, reversed for every second seed."""
    order = list(range(variants))
    return order[::-1] if seed % 2 else order


def fixed(_seed: int, variants: int) -> list[int]:
    """The same order for every seed."""
    return list(range(variants))
