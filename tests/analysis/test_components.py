from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.stats.components import Components, Part

VARIANCES = st.floats(1e-6, 1e3)


def simple(variance: float, freedom: float) -> Components:
    return Components(Part(variance, freedom))


@given(VARIANCES, st.integers(1, 200), st.floats(-5, 5))
def test_with_trials_alone_the_test_is_student_s_t(variance: float, freedom: int, distance: float) -> None:
    found = simple(variance, freedom)
    error = np.sqrt(variance)
    assert found.p_value(distance) == pytest.approx(2 * stats.t.sf(abs(distance) / error, freedom), abs=1e-9)
    low, high = stats.t.interval(0.95, freedom, loc=0, scale=error)
    assert found.half_width(0.05) == pytest.approx((high - low) / 2, rel=1e-6)
    assert found.one_sided(distance) == pytest.approx(stats.t.sf(distance / error, freedom), abs=1e-9)


@given(VARIANCES, st.integers(1, 50), st.floats(0, 1e3), VARIANCES, st.floats(0.001, 0.5))
def test_an_interval_excludes_zero_exactly_where_its_p_is_at_most_its_level(
    variance: float, freedom: int, added: float, floor: float, alpha: float
) -> None:
    found = Components(Part(variance, freedom), added=(Part(added, 407.0),), floor=floor)
    width = found.half_width(alpha)
    assert found.p_value(width * 1.001) <= alpha <= found.p_value(width * 0.999)


def test_an_effect_must_exceed_both_the_scatter_of_trials_and_the_floor() -> None:
    lucky = Components(Part(1e-6, 2), floor=1.0)
    assert lucky.half_width(0.05) == pytest.approx(stats.norm.ppf(0.975))
    scattered = Components(Part(4.0, 2), floor=1.0)
    assert scattered.half_width(0.05) == pytest.approx(2 * stats.t.ppf(0.975, 2))


def test_added_variance_enters_with_satterthwaite_s_degrees_of_freedom() -> None:
    found = Components(Part(1.0, 3), added=(Part(2.0, 10),))
    freedom = 9 / (1 / 3 + 4 / 10)
    assert found.half_width(0.05) == pytest.approx(np.sqrt(3) * stats.t.ppf(0.975, freedom))


def test_one_degree_of_freedom_detects_nothing() -> None:
    assert simple(1.0, 1).detectable(0.05) is None


@pytest.mark.parametrize("freedom", [2, 4, 9, 30])
def test_experiments_repeated_at_the_printed_effect_find_it_four_times_in_five(freedom: int) -> None:
    random = np.random.default_rng(freedom)
    scatter = random.chisquare(freedom, 2_000) / freedom
    printed = np.array([simple(each, freedom).detectable(0.05) for each in scatter])
    again = random.chisquare(freedom, 2_000) / freedom
    statistic = (printed + random.normal(size=2_000)) / np.sqrt(again)
    power = (np.abs(statistic) > stats.t.ppf(0.975, freedom)).mean()
    assert 0.74 <= power <= 0.86


def test_a_known_error_needs_the_textbook_s_effect() -> None:
    expected = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert simple(1.0, 1e6).detectable(0.05) == pytest.approx(expected, rel=0.01)


def test_the_number_of_trials_for_an_effect_has_that_power_by_the_noncentral_t() -> None:
    five = simple(1.0 / 5, 4)
    wanted = five.trials_for(1.2, 5, 0.05)
    assert wanted is not None

    def power(trials: int) -> float:
        critical, shift = stats.t.ppf(0.975, trials - 1), 1.2 * np.sqrt(trials)
        return float(stats.nct.sf(critical, trials - 1, shift) + stats.nct.cdf(-critical, trials - 1, shift))

    assert power(wanted) == pytest.approx(0.8, abs=0.06)
    assert power(wanted - 1) < 0.82


def test_no_number_of_trials_reduces_an_added_variance() -> None:
    assert Components(Part(0.1, 4), added=(Part(1.0, 400),), floor=1.0).trials_for(0.5, 5, 0.05) is None


def test_an_effect_without_any_variance_is_refused() -> None:
    with pytest.raises(ValueError, match="without any variance"):
        simple(0.0, 3).p_value(1.0)
