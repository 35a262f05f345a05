from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.stats.ratios import RunVariance, Separate, compare_trials

BEFORE, AFTER = [10.0, 10.4, 9.7, 10.1], [15.2, 15.0, 14.6, 15.9]


@pytest.mark.parametrize("paired", [True, False])
def test_the_p_value_is_scipy_s_t_test_of_logarithms(paired: bool) -> None:
    found = compare_trials(BEFORE, AFTER, paired=paired)
    logs = np.log(AFTER), np.log(BEFORE)
    expected = stats.ttest_rel(*logs) if paired else stats.ttest_ind(*logs, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.value == pytest.approx(np.median(AFTER) / np.median(BEFORE))


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_is_that_of_the_same_t_test(paired: bool) -> None:
    found = compare_trials(BEFORE, AFTER, paired=paired)
    logs = np.log(AFTER), np.log(BEFORE)
    test = stats.ttest_rel(*logs) if paired else stats.ttest_ind(*logs, equal_var=False)
    expected = np.exp(test.confidence_interval(0.95))
    assert found.interval(0.05) == pytest.approx(expected, rel=1e-9)


def test_a_noise_band_is_scaled_to_the_number_of_trials_compared() -> None:
    tight = [10.0, 10.001, 9.999, 10.0]
    slower = [10.3, 10.302, 10.298, 10.301]
    one_pair = compare_trials(tight, slower, paired=True, band=0.04)
    # Four trials a side differ by half as much as two single runs.
    low, high = one_pair.interval(0.05) or (0.0, 0.0)
    assert (low, high) == pytest.approx((1.03 / 1.04**0.5, 1.03 * 1.04**0.5), rel=1e-3)
    assert one_pair.p is not None
    assert one_pair.p < 0.05


def test_separate_runs_are_tested_only_with_the_variance_between_runs() -> None:
    unknown = compare_trials(BEFORE, AFTER, paired=False, separate=Separate())
    assert (unknown.p, unknown.interval(0.05)) == (None, None)
    assert "two separate runs" in (unknown.reason or "")
    known = compare_trials(BEFORE, AFTER, paired=False, separate=Separate(RunVariance(0.05**2, 6)))
    alone = compare_trials(BEFORE, AFTER, paired=False)
    assert known.p is not None
    assert alone.p is not None
    assert known.p > alone.p


def test_one_trial_gives_a_ratio_and_no_test() -> None:
    for before, after in (([10.0], [15.0]), ([10.0], [15.0, 15.0]), ([10.0, 11.0], [15.0])):
        found = compare_trials(before, after, paired=False)
        assert (found.p, found.interval(0.05), found.detectable(0.05)) == (None, None, None)
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
    found = compare_trials(before, after, paired=False)
    interval = found.interval(0.05)
    numbers = [found.value, *(interval or ()), found.p or 0.0, found.detectable(0.05) or 0.0]
    assert all(math.isfinite(number) for number in numbers)
    assert interval is None or interval[0] <= interval[1]


def test_a_ratio_needs_numbers_above_zero() -> None:
    with pytest.raises(ValueError, match="above zero"):
        compare_trials([0.0, 1.0], [1.0, 1.0], paired=False)


def test_runs_that_never_differed_give_single_trials_no_p_value() -> None:
    never = Separate(RunVariance(0.0, 6))
    found = compare_trials([10.0], [15.0], paired=False, separate=never)
    assert (found.value, found.p) == (1.5, None)
    assert found.reason == "equal runs on this machine have never differed: no p-value"
