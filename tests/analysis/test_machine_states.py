"""Two separate runs: error rates of band and verdict over simulated machines, and their limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from harness.analysis.over_time.noise import run_bands_of, run_variance_of
from harness.analysis.stats.components import ALPHA
from harness.analysis.stats.machine_states import add_state, between_run_band, run_variance, states_apart
from harness.analysis.stats.ratios import Separate, compare_trials
from harness.model.calibration import MachineState
from harness.output.builders.this_machine import noise_document
from harness.output.formats.known_formats import render
from tests.factories import make_noise

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]
REPLICATES = 600
values = st.lists(st.floats(0.5, 2.0), min_size=1, max_size=5)


def normal(draw: np.random.Generator, size: tuple[int, ...]) -> Floats:
    return draw.standard_normal(size)


def heavy_tailed(draw: np.random.Generator, size: tuple[int, ...]) -> Floats:
    """Student's t with four degrees of freedom, scaled to variance one."""
    return draw.standard_t(4, size) / math.sqrt(2)


def states_of(
    draw: np.random.Generator, between: float, within: float, size: tuple[int, int], noise: Noise
) -> Floats:
    """The logarithms of as many runs in each of several states as `size` names."""
    return between * draw.standard_normal((size[0], 1)) + within * noise(draw, size)


def outside_the_band(between: float, within: float, states: int, runs: int, noise: Noise = normal) -> int:
    """How often two equal runs of one trial lie outside of the band, of REPLICATES."""
    draw = np.random.default_rng([states, runs, round(1000 * between), round(1000 * within)])
    count = 0
    for _ in range(REPLICATES):
        calibrated = np.exp(states_of(draw, between, within, (states, runs), noise))
        band = between_run_band(calibrated.tolist())
        assert band is not None
        first, second = states_of(draw, between, within, (2, 1), noise)[:, 0]
        count += abs(second - first) > math.log1p(band)
    return count


def false_verdicts(
    between: float, within: float, size: tuple[int, int], trials: int, noise: Noise = normal
) -> int:
    """How often two equal runs of so many trials are found to differ at 5 %, of REPLICATES."""
    draw = np.random.default_rng([*size, trials, round(1000 * between), round(1000 * within)])
    count = 0
    for _ in range(REPLICATES):
        known = run_variance(np.exp(states_of(draw, between, within, size, noise)).tolist())
        sides = np.exp(states_of(draw, between, within, (2, trials), noise)).tolist()
        p = compare_trials(*sides, paired=False, separate=Separate(known)).p
        assert p is not None
        count += p <= ALPHA
    return count


def at_most(rate: float) -> int:
    """The largest count that a true rate exceeds in one of a thousand simulations."""
    return int(stats.binom.ppf(0.999, REPLICATES, rate))


@pytest.mark.parametrize("between", [0.0, 0.05, 0.10])
@pytest.mark.parametrize(("states", "runs"), [(2, 2), (3, 1), (5, 3), (8, 5)])
def test_equal_runs_leave_the_band_in_at_most_5_percent_of_all_cases(
    between: float, states: int, runs: int
) -> None:
    assert outside_the_band(between, 0.03, states, runs) <= at_most(0.05)


@pytest.mark.parametrize("between", [0.0, 0.05, 0.10])
@pytest.mark.parametrize("size", [(2, 2), (3, 1), (5, 3), (8, 5)])
@pytest.mark.parametrize("trials", [1, 2, 3, 10])
def test_equal_runs_get_a_verdict_on_speed_in_at_most_5_percent_of_all_cases(
    between: float, size: tuple[int, int], trials: int
) -> None:
    assert false_verdicts(between, 0.03, size, trials) <= at_most(0.05)


@pytest.mark.parametrize("trials", [1, 3, 10])
def test_heavy_tails_do_not_change_that(trials: int) -> None:
    assert outside_the_band(0.05, 0.05, 5, 3, heavy_tailed) <= at_most(0.05)
    assert false_verdicts(0.05, 0.05, (5, 3), trials, heavy_tailed) <= at_most(0.05)


def test_neither_is_wider_than_the_rate_asks_for() -> None:
    lowest = int(stats.binom.ppf(0.001, REPLICATES, 0.035))
    assert outside_the_band(0.05, 0.03, 8, 1) >= lowest
    assert false_verdicts(0.05, 0.03, (8, 5), 10) >= int(stats.binom.ppf(0.001, REPLICATES, 0.03))


def test_one_state_calibrated_often_tells_nothing_about_another() -> None:
    for states in ([[1.0, 1.01, 0.99, 1.02]], []):
        assert between_run_band(states) is None
        assert run_variance(states) is None


def test_more_trials_never_detect_less_than_the_states_lie_apart() -> None:
    known = run_variance([[0.9, 0.91], [1.0, 1.01], [1.1, 1.11]])
    assert known is not None
    speeds = [25.0 * (1 + 0.01 * (place % 3)) for place in range(200)]
    effect = compare_trials(speeds, [1.1 * each for each in speeds], paired=False, separate=Separate(known))
    assert effect.components is not None
    assert effect.components.error >= math.sqrt(2 * known.variance)
    assert effect.p is not None
    assert effect.p > ALPHA


@given(st.lists(values, min_size=2, max_size=6), st.floats(0.01, 100))
def test_the_band_does_not_depend_on_the_unit(calibrated: list[list[float]], scale: float) -> None:
    plain, scaled, inverse = (
        between_run_band(states)
        for states in (
            calibrated,
            [[scale * value for value in state] for state in calibrated],
            [[1 / value for value in state] for state in calibrated],
        )
    )
    assert plain is not None
    assert scaled == pytest.approx(plain, rel=1e-6, abs=1e-6)
    assert inverse == pytest.approx(plain, rel=1e-6, abs=1e-6)


def test_the_variance_of_a_run_is_that_of_the_states_and_of_the_mean_of_their_runs() -> None:
    draw = np.random.default_rng(7)
    found = run_variance(np.exp(states_of(draw, 0.08, 0.02, (400, 4), normal)).tolist())
    assert found is not None
    assert found.variance == pytest.approx(0.08**2 + 0.02**2 / 4, rel=0.15)
    assert found.runs == 400


@pytest.mark.parametrize("calibrated", [[[1.0], []], [[1.0], [0.0]], [[1.0], [-1.0, 2.0]]])
def test_values_that_are_no_times_are_refused(calibrated: list[list[float]]) -> None:
    for estimate in (between_run_band, run_variance):
        with pytest.raises(ValueError, match="above zero"):
            estimate(calibrated)


def test_states_accumulate_and_one_that_is_measured_again_is_replaced() -> None:
    def state(name: str, value: float) -> MachineState:
        return MachineState(
            id=name, created=datetime(2026, 1, 2, tzinfo=UTC), values={"train_seconds": (value,)}
        )

    kept = add_state(add_state((), state("a", 1.0)), state("b", 2.0))
    kept = add_state(kept, state("a", 3.0))
    assert [(each.id, each.values["train_seconds"]) for each in kept] == [("b", (2.0,)), ("a", (3.0,))]
    assert MachineState.model_validate_json(kept[0].model_dump_json()) == kept[0]


def test_calibrations_in_close_succession_are_one_state() -> None:
    def state(seconds: float, *values: float) -> MachineState:
        created = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=seconds)
        return MachineState(id=str(seconds), created=created, values={"train_seconds": values})

    # The first three follow each other, as those of a loop in a shell do.
    states = (state(100.0, 3.0), state(0.0, 1.0), state(59.0, 2.0), state(160.0, 4.0, 5.0))
    found = states_apart(states)
    assert [each.values["train_seconds"] for each in found] == [(1.0, 2.0, 3.0), (4.0, 5.0)]
    assert states_apart(found) == found


def test_a_loop_of_calibrations_gives_no_variance_between_runs() -> None:
    apart = make_noise(*([25.0 + place, 25.1 + place] for place in range(5)))
    at_once = tuple(each.model_copy(update={"created": apart.created}) for each in apart.states)
    assert run_variance_of(apart)["train_seconds"].runs == 5
    assert run_bands_of(apart)
    together = apart.model_copy(update={"states": at_once})
    assert not run_variance_of(together)
    assert not run_bands_of(together)
    assert "from 5 states" in render(noise_document(apart), "markdown")
    assert "meet one state of the machine" in render(noise_document(together), "markdown")


def test_a_state_ends_with_a_minute_after_the_last_of_its_calibrations() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    seconds = [600.0, 0.0, 640.0, 690.0, 750.0]
    states = [
        MachineState(
            id=f"{place:016x}", created=start + timedelta(seconds=at), values={"train_seconds": (at + 1,)}
        )
        for place, at in enumerate(seconds)
    ]
    found = states_apart(states)
    assert [state.values["train_seconds"] for state in found] == [(1.0,), (601.0, 641.0, 691.0), (751.0,)]


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_the_band_of_single_runs_is_that_of_the_t_distribution(count: int) -> None:
    logs = np.random.default_rng(count).normal(0, 0.02, count)
    error = math.sqrt(2 * logs.var(ddof=1))
    band = between_run_band([[float(np.exp(each))] for each in logs])
    assert band == pytest.approx(math.expm1(stats.t.ppf(0.975, count - 1) * error))
    # Two runs in each state add the scatter that their mean averages away.
    pairs = [[math.exp(each - 0.01), math.exp(each + 0.01)] for each in logs]
    both = math.sqrt(2 * (logs.var(ddof=1) + 0.01**2))
    assert between_run_band(pairs) == pytest.approx(math.expm1(stats.t.ppf(0.975, count - 1) * both))
