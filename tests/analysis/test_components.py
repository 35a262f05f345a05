from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.stats.components import MOST_TRIALS, POWER, Components, Interaction, Part

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


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6, 0.05 / 24])
@pytest.mark.parametrize("freedom", [2, 3, 4, 6, 9])
@pytest.mark.parametrize("ratio", [1.0, 1.5, 3.0, 10.0, 100.0])
def test_the_power_at_the_printed_effect_is_80_percent_for_every_true_scatter_above_the_floor(
    freedom: int, alpha: float, ratio: float
) -> None:
    """`ratio` is the true variance between trials over a floor that is its least value."""
    estimates = ratio * stats.chi2.ppf((np.arange(100) + 0.5) / 100, freedom) / freedom
    widths = np.maximum(stats.t.isf(alpha / 2, freedom) * np.sqrt(estimates), stats.norm.isf(alpha / 2))
    found = []
    for estimate in estimates[::2]:
        printed = Components(Part(estimate, freedom), floor=1.0, least=1.0).detectable(alpha)
        assert printed is not None
        found.append(stats.norm.sf((widths - printed) / np.sqrt(ratio)).mean())
    assert np.mean(found) == pytest.approx(0.8, abs=0.025)


def test_an_interaction_raises_the_floor_and_not_beyond_what_was_observed() -> None:
    interaction = Interaction(0.04, 1.0, 408)
    # With fewer trials the interaction's many degrees of freedom also lower the critical value.
    plain = Components(Part(1e-4, 30), floor=3e-5, least=3e-5)
    printed = plain.detectable(0.05)
    raised = replace(plain, interaction=interaction).detectable(0.05)
    assert printed is not None
    assert raised is not None
    assert 1.05 * printed < raised < 1.5 * printed
    known = replace(plain, added=(Part(1e-3, 407.0),), floor=1.03e-3)
    assert replace(known, interaction=interaction).detectable(0.05) == known.detectable(0.05)


def test_an_effect_beyond_the_largest_possible_one_is_printed_as_that_one() -> None:
    found = Components(Part(1.0, 2), floor=0.2, least=0.2)
    free = found.detectable(0.05)
    assert free is not None
    assert found.detectable(0.05, reach=0.9 * free) == 0.9 * free
    assert found.detectable(0.05, reach=0.3 * free) is None


def test_no_possible_effect_is_detectable_where_the_scatter_may_well_be_too_large_for_it() -> None:
    lucky = Components(Part(1e-4, 2), floor=1.0, least=1.0)
    assert lucky.detectable(0.05, reach=30.0) is not None
    assert lucky.detectable(0.05, reach=8.0) is None
    # The critical value is 11 standard errors.
    assert lucky.detectable(0.05 / 6, reach=1e6) is None


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


@settings(max_examples=25)
@example(variance=1.0, trials=1, added=(Part(0.5, 1.0),), floor=0.0, ratio=5.0, capped=False)
@given(
    VARIANCES,
    st.integers(1, 12),
    st.sampled_from([(), (Part(0.1, 407.0),), (Part(0.5, 1.0),), (Part(2.0, 5.0),)]),
    st.floats(0, 2),
    st.floats(0.05, 20),
    st.booleans(),
)
def test_the_number_of_trials_is_the_first_that_suffices(
    variance: float, trials: int, added: tuple[Part, ...], floor: float, ratio: float, capped: bool
) -> None:
    most = min((part.freedom for part in added), default=np.inf) if capped else np.inf
    between = Part(variance, max(trials - 1.0, 1.0))
    found = Components(between, added, floor=floor, least=floor / 2, most_freedom=most)
    effect = ratio * max(found.error, 1e-3)

    def suffices(wanted: int) -> bool:
        planned = found.scaled(trials, wanted)
        return planned.power(effect, max(planned.between.variance, planned.least), 0.05) >= POWER

    every = [wanted for wanted in range(3, MOST_TRIALS + 1) if suffices(wanted)]
    assert found.trials_for(effect, trials, 0.05) == (every[0] if every else None)


@pytest.mark.parametrize("wanted", [3, 5, 12, 200])
def test_other_numbers_of_trials_have_their_share_of_variance_and_degrees_of_freedom(wanted: int) -> None:
    added = (Part(0.3, 407.0),)
    for freedom in (4.0, 8.0):
        found = Components(Part(2.0, freedom), added, floor=0.5, least=0.2).scaled(5, wanted)
        # Five trials a side have four degrees of freedom in pairs, and eight where they are unpaired.
        assert found.between.variance == pytest.approx(2.0 * 5 / wanted)
        assert found.between.freedom == freedom / 4 * (wanted - 1)
        assert (found.least, found.floor) == pytest.approx((0.2 * 5 / wanted, 0.3 + 0.2 * 5 / wanted))
        assert found.added == added
    # With one trial a side the variance is that of earlier seeds, which new ones replace.
    assert Components(Part(2.0, 9.0)).scaled(1, wanted).between.freedom == wanted - 1


def test_no_number_of_trials_reduces_an_added_variance() -> None:
    assert Components(Part(0.1, 4), added=(Part(1.0, 400),), floor=1.0).trials_for(0.5, 5, 0.05) is None


def test_an_effect_without_any_variance_is_refused() -> None:
    with pytest.raises(ValueError, match="without any variance"):
        simple(0.0, 3).p_value(1.0)
