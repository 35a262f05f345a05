"""Error rates of the verdicts, by simulation with known truth.

`tools/simulate` measures the whole grid with more replicates; here are the corners, small enough for every
run of the tests, each against the binomial limits of its number of simulated comparisons.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.analysis.stats.components import ALPHA
from tools.simulate.rates import SpeedCase, false_alarms, power_as_printed, speed_alarms, wrongly_same
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


@pytest.mark.parametrize(("seeds", "tests"), [(5, 1), (10, 6)])
def test_the_printed_effect_is_found_four_times_in_five(seeds: int, tests: int) -> None:
    found = power_as_printed(QualityWorld(), "eval_accuracy", seeds, tests, 1_000, np.random.default_rng(3))
    assert found is not None
    assert 0.75 <= (found.gain + found.drop) / 2 <= 0.85


def test_two_seeds_print_no_effect() -> None:
    assert power_as_printed(QualityWorld(), "eval_accuracy", 2, 1, 100, np.random.default_rng(4)) is None


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
