from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.speed import compare_trials

BEFORE, AFTER = [10.0, 10.4, 9.7, 10.1], [15.2, 15.0, 14.6, 15.9]


@pytest.mark.parametrize("paired", [True, False])
def test_the_p_value_is_scipy_s_t_test_of_logarithms(paired: bool) -> None:
    found = compare_trials(BEFORE, AFTER, paired=paired)
    logs = np.log(AFTER), np.log(BEFORE)
    expected = stats.ttest_rel(*logs) if paired else stats.ttest_ind(*logs, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.value == pytest.approx(np.median(AFTER) / np.median(BEFORE))


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_is_the_bootstrap_s_by_enumeration(paired: bool) -> None:
    before, after = np.array(BEFORE[:3]), np.array(AFTER[:3])
    draws = [np.array(rows) for rows in itertools.product(range(3), repeat=3)]
    pairs = [(rows, rows) for rows in draws] if paired else list(itertools.product(draws, draws))
    ratios = [np.median(after[b]) / np.median(before[a]) for a, b in pairs]
    found = compare_trials(BEFORE[:3], AFTER[:3], paired=paired)
    expected = np.quantile(ratios, [0.025, 0.975], method="inverted_cdf")
    assert found.interval == pytest.approx(expected, rel=1e-9)


def test_one_trial_gives_a_ratio_and_no_test() -> None:
    for before, after in (([10.0], [15.0]), ([10.0], [15.0, 15.0]), ([10.0, 11.0], [15.0])):
        found = compare_trials(before, after, paired=False)
        assert (found.p, found.interval, found.detectable) == (None, None, None)
        assert found.reason == "one trial: no interval, not a test"


def test_constant_sides_have_no_p_value_and_say_why() -> None:
    same = compare_trials([2.0, 2.0], [2.0, 2.0], paired=True)
    assert (same.identical, same.reason) == (True, "both are constant and equal: no interval and no p-value")
    other = compare_trials([2.0, 2.0], [3.0, 3.0], paired=False)
    assert (other.identical, other.p, other.value) == (False, None, 1.5)
    assert other.reason == "neither side varies: no interval and no p-value"
    parallel = compare_trials([1.0, 1.1, 1.3], [2.0, 2.2, 2.6], paired=True)
    assert (parallel.p, parallel.reason) == (None, "every pair has the same ratio: no p-value")


@given(
    st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=6),
    st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=6),
)
def test_any_positive_numbers_give_finite_ones(before: list[float], after: list[float]) -> None:
    found = compare_trials(before, after, paired=False, resamples=200)
    numbers = [found.value, *(found.interval or ()), found.p or 0.0, found.detectable or 0.0]
    assert all(math.isfinite(number) for number in numbers)
    assert found.interval is None or found.interval[0] <= found.interval[1]


def test_a_ratio_needs_numbers_above_zero() -> None:
    with pytest.raises(ValueError, match="above zero"):
        compare_trials([0.0, 1.0], [1.0, 1.0], paired=False)
