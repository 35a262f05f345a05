from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from harness.analysis.stats.components import ALPHA, Components, Part
from harness.analysis.stats.tests import Effect, holm, is_equivalent, mcnemar, open_alpha

COUNTS = st.integers(0, 300)
P_VALUES = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=12)


def effect(center: float, error: float, freedom: float = 9, **changes: object) -> Effect:
    fields = {"value": center, "center": center, "components": Components(Part(error**2, freedom)), **changes}
    return Effect(**fields)  # type: ignore[arg-type]


@given(COUNTS, COUNTS)
def test_mcnemar_equals_scipy_and_statsmodels(lost: int, gained: int) -> None:
    found = mcnemar(lost, gained)
    if lost + gained == 0:
        assert found is None
        return
    assert found == pytest.approx(stats.binomtest(lost, lost + gained).pvalue, rel=1e-9)
    table = [[100, lost], [gained, 100]]
    assert found == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue, rel=1e-9)


@settings(max_examples=30, deadline=None)
@example([0.0, 0.0])
@example([1.0, 0.0, 0.02, 0.02])
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    assert [each.p for each in holm(p_values) if each is not None] == pytest.approx(list(expected))


@example([0.0, None, 0.0, 0.9])
@given(P_VALUES)
def test_holm_leaves_untested_rows_out_and_each_level_decides_like_the_adjusted_p(
    p_values: list[float | None],
) -> None:
    adjusted = holm(p_values)
    assert [each is None for each in adjusted] == [p is None for p in p_values]
    for each, p in zip(adjusted, p_values, strict=True):
        if each is not None and p is not None:
            assert p <= each.p <= 1
            assert each.alpha <= ALPHA
            if not math.isclose(each.p, ALPHA, rel_tol=1e-9):
                assert (p <= each.alpha) == (each.p <= ALPHA)


def test_the_open_level_counts_the_rows_that_are_not_decided() -> None:
    assert open_alpha(holm([1e-9, 0.5, 0.9, None])) == pytest.approx(ALPHA / 2)
    assert open_alpha(holm([None])) == ALPHA


def test_an_interval_stays_inside_the_bounds_of_the_metric() -> None:
    found = effect(0.02, 0.2, freedom=2, bounds=(-0.84, 0.16))
    assert found.interval(0.05) == (-0.84, 0.16)


def test_an_effect_that_no_score_can_reach_is_not_called_detectable() -> None:
    found = effect(0.0, 0.05)
    assert found.detectable(0.05) is not None
    assert effect(0.0, 0.05, reach=0.1).detectable(0.05) is None


def test_a_ratio_is_shown_as_one_and_tested_as_a_logarithm() -> None:
    found = effect(math.log(1.5), 0.1, ratio=True, bounds=(0.0, math.inf))
    low, high = found.interval(0.05) or (0.0, 0.0)
    half = 0.1 * float(stats.t.ppf(0.975, 9))
    assert (low, high) == pytest.approx((1.5 * math.exp(-half), 1.5 * math.exp(half)))
    assert found.p_above(1.0) == pytest.approx((found.p or 0.0) / 2)
    assert found.p_below(1.5) == pytest.approx(0.5)
    assert found.p_above(0.0) == 0.0


@given(st.floats(-0.05, 0.05), st.floats(0.001, 0.05), st.integers(1, 40))
def test_equivalence_is_a_ninety_percent_interval_inside_the_margin(
    center: float, error: float, freedom: int
) -> None:
    found = effect(center, error, freedom)
    low, high = found.interval(0.10) or (0.0, 0.0)
    inside = low >= -0.02 and high <= 0.02
    if not math.isclose(abs(low), 0.02, rel_tol=1e-6) and not math.isclose(abs(high), 0.02, rel_tol=1e-6):
        assert is_equivalent(found, -0.02, 0.02) == inside


def test_without_an_error_nothing_is_tested() -> None:
    found = Effect(0.01, center=0.01)
    assert (found.p, found.interval(0.05), found.detectable(0.05)) == (None, None, None)
    assert (found.p_above(0.0), found.trials_for(0.02, 0.05)) == (None, None)
    assert is_equivalent(found, -0.02, 0.02) is None
