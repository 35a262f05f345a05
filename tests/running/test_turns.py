"""The queue of an A/B session: partners next to each other, A B then B A, on every device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.stats.ratios import compare_trials
from harness.api import RunOptions, render_files
from harness.errors import InvalidInputError
from harness.model.job import Observer
from harness.model.seeds import number_of
from harness.model.trial import Trial
from harness.model.values import PaddingStrategy
from harness.running.sides.turns import begun, in_turns, turns_along, turns_of_sides
from harness.running.sides.two_sides import Side, run_along, run_sides
from tests.factories import make_trial
from tests.running.fakes import fake_suite

PADDINGS: tuple[PaddingStrategy, ...] = ("static", "dynamic", "bucketed")


def plan(seeds: int, paddings: int, devices: Sequence[str], engine: str = "trainer") -> list[Trial]:
    """As a suite is expanded: seeds outermost, every second one in reverse."""
    trials: list[Trial] = []
    for seed in range(seeds):
        of_seed = [
            make_trial(padding, seed, device=device, engine=engine)
            for padding in PADDINGS[:paddings]
            for device in devices
        ]
        trials += reversed(of_seed) if seed % 2 else of_seed
    return trials


@given(
    st.integers(1, 6),
    st.integers(1, 3),
    st.lists(st.sampled_from(["cpu", "cuda:0"]), min_size=1, unique=True),
)
def test_on_every_device_each_pair_is_together_and_the_sides_alternate_abba(
    seeds: int, paddings: int, devices: list[str]
) -> None:
    trials = plan(seeds, paddings, devices)
    turns, apart = turns_of_sides(trials, trials)
    assert apart == frozenset()
    queue = in_turns(turns)
    assert len(queue) == 2 * len(trials)
    for device in devices:
        mine = [(side, trial) for side, trial in queue if trial.device == device]
        pairs = list(zip(mine[::2], mine[1::2], strict=True))
        assert all(first[1] == second[1] for first, second in pairs)
        assert [first[0] for first, _ in pairs] == [place % 2 for place in range(len(pairs))]


@given(st.integers(1, 3), st.integers(1, 3))
def test_over_an_even_number_of_seeds_linear_drift_cancels_in_the_pairs_of_each_variant(
    half: int, paddings: int
) -> None:
    trials = plan(2 * half, paddings, ["cpu"])
    gaps: dict[str, list[int]] = {}
    queue = in_turns(turns_of_sides(trials, trials)[0])
    places = {(side, trial.id): place for place, (side, trial) in enumerate(queue)}
    for trial in trials:
        gaps.setdefault(trial.variant_id, []).append(places[1, trial.id] - places[0, trial.id])
    assert all(sum(each) == 0 for each in gaps.values())


def test_suites_that_differ_in_an_axis_are_paired_by_all_else() -> None:
    turns, apart = turns_of_sides(plan(2, 2, ["cpu"]), plan(2, 2, ["cpu"], engine="loop"))
    assert apart == {"engine"}
    assert all(base.seed == candidate.seed for (_, base), (_, candidate) in turns)
    assert all(base.padding == candidate.padding for (_, base), (_, candidate) in turns)


def test_suites_that_leave_the_partner_open_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="two trials differ only in what the suites have apart"):
        turns_of_sides(plan(1, 2, ["cpu"]), plan(1, 1, ["cpu"]))
    with pytest.raises(InvalidInputError, match="take no turns"):
        turns_of_sides(plan(1, 1, ["cpu"]), plan(1, 1, ["cuda:0"]))


def test_levels_of_an_axis_take_turns_in_the_order_of_the_suite_and_then_in_reverse() -> None:
    queue = in_turns(turns_along(plan(3, 3, ["cpu"]), "padding"))
    order = [trial.padding.strategy for _, trial in queue]
    assert order == [*PADDINGS, *reversed(PADDINGS), *PADDINGS]
    assert [trial.seed for _, trial in queue] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_what_is_done_of_a_turn_that_is_not_finished_has_to_run_again() -> None:
    trials = plan(3, 1, ["cpu"])
    turns, _ = turns_of_sides(trials, trials)
    first, second, _ = (trial.id for trial in trials)
    assert begun(turns, [{first, second}, {first}]) == [(0, trials[1])]
    assert begun(turns, [{first}, {first}]) == []


def test_a_checkpoint_with_two_revisions_takes_no_turns() -> None:
    trials = [make_trial(checkpoint=name, revision=each) for name, each in (("a", "1" * 40), ("a", "2" * 40))]
    with pytest.raises(InvalidInputError, match="several values of revision"):
        turns_along([*trials, make_trial(checkpoint="b")], "checkpoint")


@pytest.mark.parametrize("changes", [{"jobs": 2}, {"executor": "ray"}])
def test_a_session_runs_one_trial_at_a_time_on_this_machine(changes: dict[str, Any], tmp_path: Path) -> None:
    suite = fake_suite()
    options = RunOptions(reports=tmp_path, **changes)
    sides = (Side("base", suite, b""), Side("candidate", suite, b""))
    with pytest.raises(InvalidInputError, match="one trial at a time"):
        run_sides(*sides, options, observer=Observer(), render=render_files)
    with pytest.raises(InvalidInputError, match="one trial at a time"):
        run_along(suite, b"", "engine", options, observer=Observer(), render=render_files)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_machine_that_slows_down_by_a_fifth_gives_equal_sides_a_verdict_in_at_most_5_percent(
    seeds: int,
) -> None:
    trials = plan(seeds, 1, ["cpu"])
    queue = in_turns(turns_of_sides(trials, trials)[0])
    draw = np.random.default_rng(seeds)
    replicates, wrong = 400, 0
    for _ in range(replicates):
        speeds = np.linspace(1.0, 0.8, len(queue)) * np.exp(0.03 * draw.standard_normal(len(queue)))
        measured: dict[tuple[int, int], float] = {
            (side, number_of(trial.seed, "init")): float(speed)
            for (side, trial), speed in zip(queue, speeds, strict=True)
        }
        sides = ([measured[side, seed] for seed in range(seeds)] for side in range(2))
        effect = compare_trials(*sides, paired=True)
        wrong += effect.p is not None and effect.p <= 0.05
    assert wrong <= stats.binom.ppf(0.999, replicates, 0.05)
