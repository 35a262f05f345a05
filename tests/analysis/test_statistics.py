from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from harness.analysis.statistics import (
    _critical,
    holm,
    is_equivalent,
    mcnemar,
    mcnemar_detectable,
    score_interval,
    t_detectable,
    t_interval,
    t_p_value,
)

COUNTS = st.integers(0, 300)
P_VALUES = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=12)


@given(COUNTS, COUNTS)
def test_mcnemar_equals_scipy_and_statsmodels(lost: int, gained: int) -> None:
    found = mcnemar(lost, gained)
    if lost + gained == 0:
        assert found is None
        return
    assert found == pytest.approx(stats.binomtest(lost, lost + gained).pvalue, rel=1e-9)
    table = [[100, lost], [gained, 100]]
    assert found == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue, rel=1e-9)


def test_the_rejection_region_equals_enumeration() -> None:
    counts = np.arange(1, 200)
    for count, critical in zip(counts, _critical(counts), strict=True):
        significant = [low for low in range(count // 2 + 1) if 2 * stats.binom.cdf(low, count, 0.5) <= 0.05]
        assert critical == max(significant, default=-1)


@pytest.mark.parametrize(("examples", "discordant"), [(40, 6), (60, 20), (100, 0)])
def test_the_detectable_difference_has_eighty_percent_power_by_enumeration(
    examples: int, discordant: int
) -> None:
    detectable = mcnemar_detectable(examples, discordant)
    assert detectable is not None
    share = max(discordant / examples, detectable)
    gain, loss = (share + detectable) / 2, (share - detectable) / 2
    power = sum(
        stats.multinomial.pmf([gained, lost, examples - gained - lost], examples, [gain, loss, 1 - share])
        for gained in range(examples + 1)
        for lost in range(examples + 1 - gained)
        if (mcnemar(lost, gained) or 1) <= 0.05
    )
    assert power == pytest.approx(0.8, abs=1e-3)


def test_too_few_examples_detect_nothing() -> None:
    assert mcnemar_detectable(2, 1) is None
    assert mcnemar_detectable(5, 5) is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(list(expected))


@given(P_VALUES)
def test_holm_leaves_what_was_not_tested_alone_and_never_lowers_a_p(p_values: list[float | None]) -> None:
    adjusted = holm(p_values)
    assert [p is None for p in adjusted] == [p is None for p in p_values]
    pairs = [(a, p) for a, p in zip(adjusted, p_values, strict=True) if a is not None and p is not None]
    assert all(p <= a <= 1 for a, p in pairs)
    tested = [p for p in p_values if p is not None]
    assert sorted(a for a, _ in pairs) == pytest.approx(sorted(a for a in holm(tested) if a is not None))


@given(st.floats(-5, 5), st.floats(0.01, 5), st.floats(1, 500))
def test_student_s_t_equals_scipy(effect: float, error: float, freedom: float) -> None:
    expected = stats.t.interval(0.95, freedom, loc=effect, scale=error)
    assert t_interval(effect, error, freedom, 0.95) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    p = 2 * stats.t.sf(abs(effect) / error, freedom)
    assert t_p_value(effect, error, freedom) == pytest.approx(p, rel=1e-6, abs=1e-12)


def test_the_detectable_effect_of_a_t_test_has_its_power_by_the_noncentral_t() -> None:
    for freedom in (10, 60, 407):
        effect = t_detectable(1.0, freedom)
        critical = stats.t.ppf(0.975, freedom)
        power = stats.nct.sf(critical, freedom, effect) + stats.nct.cdf(-critical, freedom, effect)
        assert power == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (0, 4), (3, 1), (10, 25)])
def test_the_score_interval_ends_where_the_score_test_by_maximum_likelihood_does(
    lost: int, gained: int
) -> None:
    examples = 120
    low, high = score_interval(lost, gained, examples, 0.90)
    for difference, direction in ((low, 1), (high, -1)):

        def unlikelihood(share: float, shift: float = difference) -> float:
            parts = (share, share + shift, 1 - 2 * share - shift)
            counts = (lost, gained, examples - lost - gained)
            return -float(
                sum(count * np.log(max(part, 1e-300)) for count, part in zip(counts, parts, strict=True))
            )

        bounds = (max(0.0, -difference), (1 - difference) / 2)
        fitted = optimize.minimize_scalar(
            unlikelihood, bounds=bounds, method="bounded", options={"xatol": 1e-10}
        ).x
        variance = examples * (2 * fitted + difference - difference**2)
        statistic = (gained - lost - examples * difference) / np.sqrt(variance)
        assert statistic == pytest.approx(direction * stats.norm.ppf(0.95), abs=1e-3)


def test_without_a_discordant_pair_the_score_interval_still_has_a_width() -> None:
    low, high = score_interval(0, 0, 408, 0.90)
    assert low == -high
    assert 0.005 < high < 0.01


def test_equivalence_needs_the_whole_interval_inside_the_margin() -> None:
    assert is_equivalent((-0.019, 0.019), 0.02) is True
    assert is_equivalent((-0.02, 0.01), 0.02) is False
    assert is_equivalent(None, 0.02) is None
