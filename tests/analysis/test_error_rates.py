"""The promise behind every verdict: false alarms at 5 %, and the power that is printed.

Each rate is held against the binomial interval of its number of simulated comparisons. 1,000 resamples
instead of the 10,000 of a real comparison keep this short; they add 2 % of noise to a standard error.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.analysis.resampling import Case, compare_quality
from harness.analysis.speed import compare_trials
from harness.analysis.statistics import ALPHA, is_equivalent, mcnemar, mcnemar_detectable

COMPARISONS, EXAMPLES, RESAMPLES = 2_000, 408, 1_000


def _within(alarms: int, rate: float, comparisons: int = COMPARISONS) -> bool:
    low, high = stats.binom.interval(0.99, comparisons, rate)
    return bool(low <= alarms <= high)


def _at_most(alarms: int, rate: float, comparisons: int = COMPARISONS) -> bool:
    return bool(alarms <= stats.binom.ppf(0.995, comparisons, rate))


def _pairs(
    comparisons: int, discordant: float, difference: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Labels (N,) and both sides (comparisons, N), with a true share of discordant pairs and a difference."""
    random = np.random.default_rng(seed)
    labels = (np.arange(EXAMPLES) % 3 != 0).astype(np.int64)
    shares = [(discordant - difference) / 2, (discordant + difference) / 2, 0.08]
    kinds = random.choice(4, p=[*shares, 1 - sum(shares)], size=(comparisons, EXAMPLES))
    before = np.where((kinds == 1) | (kinds == 2), 1 - labels, labels)
    after = np.where((kinds == 0) | (kinds == 2), 1 - labels, labels)
    return labels, before, after


def _cases(metric: str, comparisons: int, discordant: float, difference: float, seed: int) -> list[Case]:
    labels, before, after = _pairs(comparisons, discordant, difference, seed)
    return [Case(metric, labels, a[None], b[None]) for a, b in zip(before, after, strict=True)]


def _seeded(comparisons: int, seeds: int, seed_spread: float, seed: int) -> list[Case]:
    """Null comparisons over several seeds: hard and easy examples, and runs that are luckier than others."""
    random = np.random.default_rng(seed)
    labels = (np.arange(EXAMPLES) % 3 != 0).astype(np.int64)
    cases = []
    for _ in range(comparisons):
        ease = random.normal(2.2, 2.5, size=EXAMPLES)
        luck = random.normal(0, seed_spread, size=(2 * seeds, 1))
        right = random.random((2 * seeds, EXAMPLES)) < 1 / (1 + np.exp(-ease - luck))
        sides = np.where(right, labels, 1 - labels)
        cases.append(Case("eval_accuracy", labels, sides[:seeds], sides[seeds:]))
    return cases


def _alarms(cases: list[Case]) -> int:
    effects = compare_quality(cases, resamples=RESAMPLES)
    return sum(effect.p is not None and effect.p <= ALPHA for effect in effects)


def test_exact_mcnemar_alarms_as_often_as_enumeration_says_and_never_above_its_level() -> None:
    discordant = 0.14
    counts = range(110)
    sizes = [
        sum(
            math.comb(count, lost) / 2**count
            for lost in range(count + 1)
            if (mcnemar(lost, count - lost) or 1) <= ALPHA
        )
        for count in counts
    ]
    true_rate = float(stats.binom.pmf(counts, EXAMPLES, discordant) @ sizes)
    assert true_rate <= ALPHA
    assert _within(_alarms(_cases("eval_accuracy", COMPARISONS, discordant, 0.0, 1)), true_rate)


@pytest.mark.parametrize("metric", ["eval_f1", "eval_mcc"])
def test_the_paired_bootstrap_alarms_at_five_percent(metric: str) -> None:
    assert _within(_alarms(_cases(metric, COMPARISONS, 0.14, 0.0, 2)), ALPHA)


@pytest.mark.parametrize(("seeds", "seed_spread"), [(2, 0.0), (3, 0.0), (3, 0.15), (5, 0.15), (5, 0.3)])
def test_the_joint_bootstrap_alarms_at_most_at_five_percent(seeds: int, seed_spread: float) -> None:
    assert _at_most(_alarms(_seeded(COMPARISONS // 4, seeds, seed_spread, 3)), ALPHA, COMPARISONS // 4)


def test_three_seeds_alarm_at_most_at_five_percent_over_all_2000_comparisons() -> None:
    assert _at_most(_alarms(_seeded(COMPARISONS, 3, 0.15, 4)), ALPHA)


@pytest.mark.parametrize("discordant", [0.06, 0.14])
def test_an_accuracy_difference_of_the_printed_size_is_found_four_times_in_five(discordant: float) -> None:
    printed = mcnemar_detectable(EXAMPLES, round(discordant * EXAMPLES))
    assert printed is not None
    found = _alarms(_cases("eval_accuracy", COMPARISONS, discordant, printed, 5))
    assert found / COMPARISONS == pytest.approx(0.8, abs=0.03)


def test_the_size_printed_for_f1_is_found_four_times_in_five() -> None:
    null = compare_quality(_cases("eval_f1", 200, 0.14, 0.0, 6), resamples=RESAMPLES)
    printed = float(np.median([effect.detectable for effect in null if effect.detectable is not None]))
    shifted = _cases("eval_f1", COMPARISONS, 0.14, printed * 1.35, 7)
    effects = compare_quality(shifted, resamples=RESAMPLES)
    true_size = float(np.mean([effect.value for effect in effects]))
    found = sum(effect.p is not None and effect.p <= ALPHA for effect in effects) / COMPARISONS
    # The power at the size that was simulated, against the power the printed size implies there.
    spread = printed / (stats.norm.ppf(0.975) + stats.norm.ppf(0.8))
    expected = stats.norm.sf(stats.norm.ppf(0.975) - true_size / spread)
    assert found == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    ("metric", "discordant", "difference"),
    [("eval_accuracy", 0.0201, 0.02), ("eval_accuracy", 0.03, 0.02), ("eval_f1", 0.03, 0.0264)],
)
def test_a_difference_as_large_as_the_margin_is_called_equivalent_in_at_most_five_percent(
    metric: str, discordant: float, difference: float
) -> None:
    effects = compare_quality(_cases(metric, COMPARISONS, discordant, difference, 8), resamples=RESAMPLES)
    margin = 0.02
    assert np.mean([effect.value for effect in effects]) > margin - 0.0005
    assert _at_most(sum(is_equivalent(effect.narrow, margin) is True for effect in effects), ALPHA)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("trials", [2, 3, 5])
def test_the_speed_test_alarms_at_five_percent_from_two_trials_on(trials: int, paired: bool) -> None:
    random = np.random.default_rng([9, trials])
    times = np.exp(random.normal(0, 0.03, size=(COMPARISONS, 2, trials)))
    alarms = 0
    for before, after in times:
        effect = compare_trials(before.tolist(), after.tolist(), paired=paired, resamples=10)
        alarms += effect.p is not None and effect.p <= ALPHA
    assert _within(alarms, ALPHA) if paired else _at_most(alarms, ALPHA)
