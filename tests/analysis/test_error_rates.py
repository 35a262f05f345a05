"""Error rates of the verdicts, by simulation with known truth.

`tools/simulate` measures the whole grid with more replicates; here are the corners, small enough for every
run of the tests, each against the binomial limits of its number of simulated comparisons.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.analysis.stats.components import ALPHA
from tools.simulate.rates import (
    SpeedCase,
    false_alarms,
    power_as_printed,
    quality_effects,
    speed_alarms,
    wrongly_same,
)
from tools.simulate.worlds import QualityWorld, SpeedWorld

REPLICATES = 2_000


def _at_most(share: float, rate: float, replicates: int = REPLICATES) -> bool:
    return bool(share <= stats.binom.ppf(0.995, replicates, rate) / replicates)


@pytest.mark.parametrize("metric", ["eval_accuracy", "eval_f1", "eval_mcc"])
@pytest.mark.parametrize(("seeds", "discordance"), [(2, 0.04), (3, 0.04), (3, 0.12)])
def test_equal_recipes_are_told_apart_in_at_most_five_percent(
    metric: str, seeds: int, discordance: float
) -> None:
    world = QualityWorld(discordance=discordance)
    random = np.random.default_rng([1, seeds])
    assert _at_most(false_alarms(world, metric, seeds, REPLICATES, random), ALPHA)


def test_one_seed_never_tells_recipes_apart() -> None:
    world = QualityWorld(discordance=0.12)
    assert false_alarms(world, "eval_accuracy", 1, 100, np.random.default_rng(2)) == 0


@pytest.mark.parametrize("metric", ["eval_f1", "eval_mcc"])
@pytest.mark.parametrize("effect", [0.04, -0.08])
def test_a_simulated_effect_has_the_wanted_size(metric: str, effect: float) -> None:
    world = QualityWorld()
    shifts = [world.shift(world.change(metric, effect))] * 300
    found = quality_effects(world, metric, 3, shifts, np.random.default_rng(10))
    assert np.mean([each.value for each in found]) == pytest.approx(effect, abs=0.006)


@pytest.mark.parametrize(
    ("metric", "discordance", "seeds", "tests"),
    [
        ("eval_accuracy", 0.04, 3, 1),
        ("eval_accuracy", 0.12, 5, 6),
        ("eval_f1", 0.08, 3, 1),
        ("eval_f1", 0.04, 10, 1),
        ("eval_mcc", 0.12, 5, 1),
        ("eval_mcc", 0.08, 10, 6),
    ],
)
def test_the_printed_effect_is_found_four_times_in_five(
    metric: str, discordance: float, seeds: int, tests: int
) -> None:
    random = np.random.default_rng([3, seeds])
    found = power_as_printed(QualityWorld(discordance=discordance), metric, seeds, tests, 400, random)
    assert found is not None
    power, comparisons = (found.gain + found.drop) / 2, 2 * round(400 * found.printed)
    assert _at_most(power, 0.85, comparisons)
    assert _at_most(1 - power, 0.25, comparisons)


def test_nearly_every_comparison_of_three_seeds_prints_its_effect() -> None:
    found = power_as_printed(QualityWorld(), "eval_accuracy", 3, 1, 100, np.random.default_rng(9))
    assert found is not None
    assert found.printed > 0.9


@pytest.mark.parametrize(("seeds", "tests"), [(2, 1), (3, 6)])
def test_too_few_seeds_print_no_effect(seeds: int, tests: int) -> None:
    random = np.random.default_rng(4)
    assert power_as_printed(QualityWorld(), "eval_accuracy", seeds, tests, 100, random) is None


@pytest.mark.parametrize("seeds", [2, 5])
def test_recipes_that_differ_by_the_margin_are_called_the_same_in_at_most_five_percent(seeds: int) -> None:
    found = wrongly_same(QualityWorld(), 0.02, seeds, REPLICATES, np.random.default_rng([5, seeds]))
    assert _at_most(found, ALPHA)


@pytest.mark.parametrize("trials", [2, 3, 10])
@pytest.mark.parametrize(
    "world",
    [SpeedWorld(), SpeedWorld(drift=0.2), SpeedWorld(heavy=True), SpeedWorld(state=0.1)],
    ids=["noise", "drift", "heavy tails", "state"],
)
def test_equal_variants_of_one_run_differ_in_speed_in_at_most_five_percent(
    world: SpeedWorld, trials: int
) -> None:
    random = np.random.default_rng([6, trials])
    assert _at_most(speed_alarms(world, SpeedCase(trials), REPLICATES, random), ALPHA)


@pytest.mark.parametrize("trials", [1, 2, 10])
def test_equal_runs_on_a_machine_that_changes_differ_in_at_most_five_percent(trials: int) -> None:
    random = np.random.default_rng([7, trials])
    world = SpeedWorld(state=0.05)
    assert speed_alarms(world, SpeedCase(trials, runs=2), 100, random) == 0
    calibrated = SpeedCase(trials, runs=2, known_runs=5)
    assert _at_most(speed_alarms(world, calibrated, REPLICATES, random), ALPHA)


def test_a_noise_band_costs_less_than_ten_points_of_power() -> None:
    band = float(np.expm1(0.03 * np.sqrt(2) * 1.96))
    found = [
        speed_alarms(
            SpeedWorld(), SpeedCase(10, ratio=1 / 1.05, band=given), REPLICATES, np.random.default_rng(8)
        )
        for given in (None, band)
    ]
    assert found[0] - found[1] < 0.1
    assert found[1] > 0.75
