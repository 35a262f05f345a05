"""Spending functions and boundaries: published values, properties, and simulated looks."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from harness.analysis.stats.sequential import (
    Sides,
    levels,
    look_sizes,
    nominal_level,
    repeated_p,
    spent,
)

FIVE = (0.2, 0.4, 0.6, 0.8, 1.0)


def obrien_fleming(fraction: float, alpha: float) -> float:
    """The spending of Lan and DeMets of O'Brien and Fleming's type, two-sided."""
    return 4 * float(special.ndtr(special.ndtri(alpha / 4) / math.sqrt(fraction)))


def bounds(found: tuple[float, ...], sides: Sides) -> list[float]:
    return [-float(special.ndtri(level / sides)) for level in found]


def spending(fractions: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    return tuple(spent(each, alpha) for each in fractions)


def test_boundaries_are_the_published_ones() -> None:
    # Reboussin, DeMets, Kim and Lan (2000), Controlled Clinical Trials 21:190, and DeMets and Lan (1994),
    # Statistics in Medicine 13:1341: five looks, 5 % two-sided.
    pocock = bounds(levels(FIVE, spending(FIVE, 0.05), 2), 2)
    assert pocock == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=6e-4)
    spends = tuple(obrien_fleming(each, 0.05) for each in FIVE)
    assert bounds(levels(FIVE, spends, 2), 2) == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=6e-4)
    # A symmetric test at 5 % is two upper ones at 2.5 %, apart from paths that cross both bounds.
    half = tuple(each / 2 for each in spends)
    assert bounds(levels(FIVE, half, 1), 1) == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=6e-4)


@pytest.mark.parametrize(("looks", "constant"), [(2, 2.178), (3, 2.289), (5, 2.413), (10, 2.555)])
def test_the_spending_of_equal_bounds_gives_these_bounds(looks: int, constant: float) -> None:
    # Jennison and Turnbull (2000), table 2.1: Pocock's constants at 5 % two-sided.
    fractions = tuple((look + 1) / looks for look in range(looks))
    random = np.random.default_rng(7)
    steps = random.normal(0, math.sqrt(1 / looks), (400_000, looks)).cumsum(axis=1)
    crossed = np.maximum.accumulate(np.abs(steps) / np.sqrt(fractions) >= constant, axis=1)
    shares = crossed.mean(axis=0)
    assert shares[-1] == pytest.approx(0.05, abs=0.0015)
    assert bounds(levels(fractions, tuple(map(float, shares)), 2), 2) == pytest.approx(
        [constant] * looks, abs=0.03
    )


def test_spending_is_that_of_lan_and_demets_and_sums_to_alpha() -> None:
    # Pocock's type at half of the information: alpha x ln(1 + (e - 1) / 2).
    assert spent(0.5, 0.05) == pytest.approx(0.0310057, abs=1e-7)
    assert spent(0.0, 0.05) == 0
    assert spent(1.0, 0.05) == pytest.approx(0.05)


increasing = st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True).map(
    lambda found: tuple(each / max(found) for each in sorted(found))
)


@settings(max_examples=40, deadline=None)
@given(increasing, st.floats(1e-4, 0.2), st.sampled_from((1, 2)))
def test_levels_spend_no_more_than_alpha(fractions: tuple[float, ...], alpha: float, sides: Sides) -> None:
    spends = spending(fractions, alpha)
    assert all(before < after for before, after in itertools.pairwise(spends))
    assert spends[-1] == pytest.approx(alpha)
    found = levels(fractions, spends, sides)
    assert found[0] == pytest.approx(spends[0], rel=1e-6)
    for level, total, before in zip(found, spends, (0.0, *spends), strict=False):
        # At least the error of this look alone, at most all that is spent.
        assert total - before <= level * (1 + 1e-9)
        assert level <= total * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(increasing, st.floats(1e-6, 0.2), st.floats(1.01, 3), st.sampled_from((1, 2)))
def test_a_larger_alpha_never_gives_a_smaller_level(
    fractions: tuple[float, ...], alpha: float, factor: float, sides: Sides
) -> None:
    # Without it, Holm's procedure would not be valid over looks.
    small, large = (levels(fractions, spending(fractions, each), sides) for each in (alpha, alpha * factor))
    assert all(before <= after for before, after in zip(small, large, strict=True))


@settings(max_examples=40, deadline=None)
@given(
    st.floats(1e-9, 1), st.integers(0, 5), st.sampled_from((0.05, 0.05 / 9, 1e-4)), st.sampled_from((1, 2))
)
def test_a_repeated_p_rejects_exactly_where_the_test_of_the_look_does(
    p: float, look: int, alpha: float, sides: Sides
) -> None:
    sizes = look_sizes(8)
    level = nominal_level(sizes, look, alpha, sides)
    if abs(p / level - 1) > 1e-3:
        assert (repeated_p(p, sizes, look, sides) <= alpha) == (p <= level)
    assert repeated_p(p, sizes, look, sides) >= p * (1 - 1e-3) or p < 1e-8
    assert repeated_p(0.0, sizes, look, sides) == pytest.approx(1e-9)
    assert repeated_p(1.0, sizes, look, sides) == 1


@pytest.mark.parametrize("most", [5, 10, 20])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 3])
def test_looks_at_a_t_statistic_reject_true_nulls_in_at_most_alpha(most: int, alpha: float) -> None:
    runs, sizes = 100_000, look_sizes(most)
    scores = np.random.default_rng([3, most]).normal(size=(runs, most))
    sums, squares = scores.cumsum(axis=1), (scores**2).cumsum(axis=1)
    crossed: dict[Sides, np.ndarray[Any, Any]] = {1: np.zeros(runs, bool), 2: np.zeros(runs, bool)}
    for look, size in enumerate(sizes):
        means = sums[:, size - 1] / size
        errors = np.sqrt((squares[:, size - 1] / size - means**2) / (size - 1))
        upper = special.stdtr(size - 1, -means / errors)
        crossed[1] |= upper <= nominal_level(sizes, look, alpha, 1)
        crossed[2] |= 2 * np.minimum(upper, 1 - upper) <= nominal_level(sizes, look, alpha, 2)
    limit = stats.binom.ppf(0.995, runs, alpha) / runs
    for found in crossed.values():
        assert 0.75 * alpha < found.mean() <= limit


def test_the_first_look_has_three_seeds_and_the_last_one_all() -> None:
    assert look_sizes(3) == (3,)
    assert look_sizes(10) == (3, 4, 5, 6, 7, 8, 10)
    for most in range(3, 60):
        sizes = look_sizes(most)
        assert sizes[-1] == most
        assert list(sizes) == sorted(set(sizes))
