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
    for sides in (([0.0, 1.0], [1.0, 1.0]), ([1.0, 1.0], [2.0, 0.0])):
        with pytest.raises(ValueError, match="above zero"):
            compare_trials(*sides, paired=False)


# scipy's moments of a constant side.
@pytest.mark.filterwarnings("ignore:Precision loss")
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("sides", [([2.0, 2.0, 2.0], [3.0, 3.1, 2.9]), ([3.0, 3.1, 2.9], [2.0, 2.0, 2.0])])
def test_one_constant_side_is_tested_by_the_scatter_of_the_other(
    sides: tuple[list[float], list[float]], paired: bool
) -> None:
    found = compare_trials(*sides, paired=paired)
    logs = np.log(sides[1]), np.log(sides[0])
    expected = stats.ttest_rel(*logs) if paired else stats.ttest_ind(*logs, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert not found.identical


def test_an_effect_that_is_not_tested_names_the_variance_that_would_test_it() -> None:
    unknown, changed = Separate(), Separate(changed="it was slower")
    for before, after, separate, lacks in (
        ([10.0], [15.0], None, None),
        ([10.0], [15.0], unknown, "runs"),
        (BEFORE, AFTER, unknown, "runs"),
        (BEFORE, AFTER, changed, None),
        ([2.0, 2.0], [3.0, 3.0], None, "scatter"),
        ([2.0, 2.0], [2.0, 2.0], None, None),
        ([1.0, 1.1, 1.3], [2.0, 2.2, 2.6], None, "scatter"),
    ):
        found = compare_trials(before, after, paired=len(before) == len(after), separate=separate)
        assert (found.p, found.lacks) == (None, lacks)


def test_runs_that_never_differed_give_single_trials_no_p_value() -> None:
    never = Separate(RunVariance(0.0, 6))
    found = compare_trials([10.0], [15.0], paired=False, separate=never)
    assert (found.value, found.p) == (1.5, None)
    assert found.reason == "equal runs on this machine have never differed: no p-value"


def _t(distance: float, variance: float, freedom: float) -> float:
    """The two-sided p of a distance."""
    return float(2 * stats.t.sf(abs(distance) / math.sqrt(variance), freedom))


@pytest.mark.parametrize("runs", [3, 6, 30])
def test_single_trials_of_separate_runs_have_the_variance_of_two_single_runs(runs: int) -> None:
    known = RunVariance(0.02**2, runs, of_trials=0.01**2)
    found = compare_trials([10.0], [10.8], paired=False, separate=Separate(known))
    variance = 2 * (0.02**2 + 0.01**2)
    assert found.p == pytest.approx(_t(math.log(1.08), variance, runs - 1), rel=1e-9)
    half = stats.t.ppf(0.975, runs - 1) * math.sqrt(variance)
    assert found.interval(0.05) == pytest.approx((1.08 * math.exp(-half), 1.08 * math.exp(half)))
    # A band is of the ratios of two single runs.
    banded = compare_trials([10.0], [10.8], paired=False, separate=Separate(known), band=0.2)
    wide = max(half, math.log(1.2))
    assert banded.interval(0.05) == pytest.approx((1.08 * math.exp(-wide), 1.08 * math.exp(wide)), rel=1e-4)


@pytest.mark.parametrize(("before", "after"), [(BEFORE, AFTER), (BEFORE[:3], AFTER), (BEFORE, AFTER[:2])])
@pytest.mark.parametrize(("spread", "runs"), [(0.01, 3), (0.05, 6), (0.2, 40)])
def test_separate_runs_add_the_variance_of_a_run_a_side_to_welch_s(
    before: list[float], after: list[float], spread: float, runs: int
) -> None:
    separate = Separate(RunVariance(spread**2, runs, of_trials=1.0))
    found = compare_trials(before, after, paired=False, separate=separate)
    sides = [np.log(each) for each in (before, after)]
    parts = [(each.var(ddof=1) / each.size, each.size - 1) for each in sides]
    parts.append((2 * spread**2, runs - 1))
    total = sum(variance for variance, _ in parts)
    between = sum(variance for variance, _ in parts[:2])
    welch = between**2 / sum(variance**2 / freedom for variance, freedom in parts[:2])
    freedom = total**2 / (between**2 / welch + (2 * spread**2) ** 2 / (runs - 1))
    distance = float(sides[1].mean() - sides[0].mean())
    assert found.p == pytest.approx(_t(distance, total, min(freedom, runs - 1)), rel=1e-6)
    assert found.trials == min(len(before), len(after))


@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 5), (5, 3)])
def test_a_band_of_unpaired_trials_is_scaled_by_the_trials_of_each_side(before: int, after: int) -> None:
    sides = [
        [10.0 + 1e-4 * (place + shift) for place in range(count)]
        for shift, count in enumerate((before, after))
    ]
    low, high = compare_trials(*sides, paired=False, band=0.04).interval(0.05) or (0.0, 0.0)
    half = math.log(1.04) * math.sqrt((1 / before + 1 / after) / 2)
    assert (math.log(low), math.log(high)) == pytest.approx((-half, half), abs=1e-4)


def test_runs_of_machines_whose_speed_changed_are_not_tested_whatever_is_known() -> None:
    known = RunVariance(1e-8, 30)
    for before, after in ((BEFORE, AFTER), (BEFORE, BEFORE), ([10.0], [20.0])):
        found = compare_trials(before, after, paired=False, separate=Separate(known, "it was slower"))
        assert (found.p, found.identical, found.reason) == (None, False, "it was slower")
        assert found.value == pytest.approx(np.median(after) / np.median(before))


def test_the_detectable_ratio_is_that_of_the_same_error_as_a_difference() -> None:
    found = compare_trials(BEFORE, AFTER, paired=True)
    assert found.components is not None
    detectable = found.components.detectable(0.05)
    assert detectable is not None
    assert found.detectable(0.05) == pytest.approx(math.exp(detectable))
    assert found.trials_for(1.1, 0.05) == found.components.trials_for(math.log(1.1), 4, 0.05)
    assert [found.trials_for(each, 0.05) for each in (1.0, 0.9)] == [None, None]
    wild = compare_trials([1.0, 1e60, 1e-60], [1e50, 1e-30, 1e70], paired=True)
    assert wild.p is not None
    assert wild.detectable(0.05) is None
    assert wild.interval(0.05) is not None
    assert max(wild.interval(0.05) or ()) == pytest.approx(math.exp(100))
