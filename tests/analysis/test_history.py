"""History: which earlier trials count, in which state of the machine, and how often verdicts on them err."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.comparison.comparing import compare
from harness.analysis.over_time.earlier_trials import Group, by_state, collect, each_seed_once, named_runs
from harness.analysis.over_time.evidence import run_evidence
from harness.analysis.stats.components import ALPHA
from harness.analysis.stats.machine_states import pooled_variance, run_variance
from harness.analysis.stats.ratios import RunVariance
from harness.model.results import Report
from harness.model.values import PaddingStrategy
from tests.factories import STARTED, make_report, make_result, make_trial
from tools.simulate.history import DROP, SLOWER, separate_runs, single_seeds
from tools.simulate.worlds import QualityWorld, SpeedWorld

REPLICATES = 600


def run(name: str, seeds: list[int], minutes: float = 0.0, **changes: Any) -> Report:
    """A report of one trial a seed, 12.5 seconds each and all at once, so many minutes after the first."""
    results = [
        make_result(make_trial(seed=seed), started=STARTED + timedelta(minutes=minutes), **changes)
        for seed in seeds
    ]
    return make_report(results, run=name, created=STARTED + timedelta(minutes=minutes + 1))


def test_runs_are_in_one_state_up_to_a_minute_after_the_end_of_the_latest() -> None:
    # A run ends 12.5 seconds after it starts: gaps of 59.5, 60.5 and, after an overlap, 59 seconds.
    starts = [0.0, 72.0, 145.0, 150.0, 221.5]
    reports = [run(f"r{place}", [0], start / 60) for place, start in enumerate(starts)]
    states = by_state(collect(reports, []).trials)
    assert [named_runs(state) for state in states] == ["runs r0 and r1", "runs r2, r3 and r4"]


@pytest.mark.parametrize("started", [datetime.min, datetime.max])
def test_any_time_and_duration_has_a_state(started: datetime) -> None:
    reports = [
        run("a", [0]),
        make_report([make_result(started=started.replace(tzinfo=UTC), duration_s=1e300)], run="b"),
    ]
    assert len(by_state(collect(reports, []).trials)) == 2 - (started == datetime.min)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400)), min_size=1, max_size=8), st.integers())
@settings(max_examples=40, deadline=None)
def test_order_and_copies_change_nothing(runs: list[tuple[int, int]], chance: int) -> None:
    reports = [run(f"r{place}", [seed], minutes) for place, (seed, minutes) in enumerate(runs)]
    shuffled = [*reports, *reports]
    random.Random(chance).shuffle(shuffled)
    once, twice = collect(reports, []), collect(shuffled, [])
    assert once == twice
    assert len(once.trials) == len(set(runs))
    seeds = [each.result.trial.seed for each in each_seed_once(once.trials, taken=[3])]
    assert seeds == sorted({seed for seed, _ in runs} - {3})
    assert sum(map(len, by_state(once.trials))) == len(once.trials)
    assert not collect(shuffled, reports).trials


def test_seeds_of_a_side_with_several_are_pooled_with_those_of_the_history() -> None:
    one, several = run("one", [0], accuracy=0.5), run("several", [1, 2])
    alone = compare([one, several], metrics=["eval_accuracy"]).rows[0]
    history = [run("x", [1, 2, 3, 4, 5, 6], 99)]
    known = compare([one, several], metrics=["eval_accuracy"], history=history).rows[0]
    assert "seed variance from 4 seeds of run x" in known.notes
    assert known.test == alone.test == "unpaired seeds, paired examples"
    assert alone.p is not None
    assert known.p is not None
    assert known.p < alone.p


@pytest.mark.parametrize("seeds", [[0, 1], [0, 1, 2]])
def test_paired_seeds_need_no_history(seeds: list[int]) -> None:
    pair = run("a", seeds), run("b", seeds, accuracy=0.6)
    history = [run("x", [3, 4, 5], 99)]
    with_it = compare(pair, metrics=["eval_accuracy"], history=history)
    assert with_it.rows == compare(pair, metrics=["eval_accuracy"]).rows


@pytest.mark.parametrize(
    ("earlier", "told"),
    [
        ([], "no other seed"),
        ([5], "1 other seed"),
        # Examples in another order are the same; fewer ones are not those that are compared.
        ([5, 6], None),
    ],
)
def test_a_variance_over_seeds_needs_two_other_seeds(earlier: list[int], told: str | None) -> None:
    pair = run("a", [0]), run("b", [0], accuracy=0.6)
    # Seed 0 of an earlier run is another trial, but of the seed that both sides have.
    history = [run("x", [*earlier], 99), run("y", earlier[:1], 200)]
    (row,) = compare(pair, metrics=["eval_accuracy"], history=history).rows
    if told is None:
        assert row.p is not None
        assert "seed variance from 2 seeds of run x" in row.notes
    else:
        note = f"the history has {told} of this recipe: a variance over seeds needs two or more"
        assert note in row.notes
        assert (row.verdict, row.p) == ("unsure", None)


def test_variants_along_an_axis_have_the_history_of_both() -> None:
    def both(name: str, seeds: range, minutes: float) -> Report:
        results = [
            make_result(
                make_trial(padding, seed),
                accuracy=0.9 if padding == "static" else 0.5,
                started=STARTED + timedelta(minutes=minutes),
            )
            for seed in seeds
            for padding in ("static", "dynamic")
        ]
        return make_report(results, run=name)

    found = compare(
        [both("a", range(1), 0)],
        by="padding",
        metrics=["eval_accuracy"],
        history=[both("x", range(1, 9), 99)],
    )
    (row,) = found.rows
    assert row.verdict == "worse"
    assert "seed variance from 8 seeds of run x" in row.notes
    assert not found.notes
    speed = compare(
        [both("a", range(1), 0)],
        by="padding",
        metrics=["train_real_tokens_per_second"],
        history=[both("x", range(1, 9), 99)],
    )
    assert speed.notes == ("history not used: this comparison needs no variance of earlier runs",)


def test_a_calibration_of_more_runs_is_used_in_place_of_the_history() -> None:
    metric = "train_real_tokens_per_second"
    pair = run("a", [0], 900), run("b", [0], 950, samples_per_second=20.0)
    history = [run(f"x{day}", [0], 60.0 * day, samples_per_second=25 + 0.1 * day) for day in range(4)]
    for runs, named in ((3, "from 4 earlier runs"), (5, "from the calibration of 5 states")):
        calibrated = {metric: RunVariance(0.01**2, runs)}
        (row,) = compare(pair, metrics=[metric], run_variance=calibrated, history=history).rows
        assert row.verdict == "worse"
        assert any(named in note for note in row.notes)


def test_variances_are_pooled_by_their_degrees_of_freedom() -> None:
    found = pooled_variance([RunVariance(1.0, 3, 0.1), RunVariance(4.0, 2, 0.4)], most_runs=9)
    assert (found.variance, found.runs) == (2.0, 4)
    assert found.of_trials == pytest.approx(0.2)
    assert pooled_variance([RunVariance(1.0, 5), RunVariance(1.0, 5)], most_runs=5).runs == 5
    # Runs of single trials vary by the whole of a trial's variance.
    single = run_variance([[1.0], [1.1], [1.3]])
    assert single is not None
    assert single.of_trials == 0


def _at_most(share: float, rate: float) -> bool:
    return bool(share <= stats.binom.ppf(0.995, REPLICATES, rate) / REPLICATES)


@pytest.mark.parametrize("metric", ["eval_accuracy", "eval_f1", "eval_mcc"])
@pytest.mark.parametrize(("seeds", "discordance"), [(3, 0.04), (5, 0.08), (10, 0.12)])
@pytest.mark.parametrize("repeated", [False, True])
def test_equal_recipes_of_one_seed_are_told_apart_in_at_most_five_percent(
    metric: str, seeds: int, discordance: float, repeated: bool
) -> None:
    world = QualityWorld(discordance=discordance)
    draw = np.random.default_rng([11, seeds])
    assert _at_most(single_seeds(world, metric, seeds, REPLICATES, draw, repeated=repeated), ALPHA)


@pytest.mark.parametrize("runs", [3, 5])
@pytest.mark.parametrize("state", [0.0, 0.05, 0.1])
@pytest.mark.parametrize("trials", [1, 3])
def test_equal_separate_runs_are_told_apart_in_at_most_five_percent(
    runs: int, state: float, trials: int
) -> None:
    draw = np.random.default_rng([12, runs, trials])
    assert _at_most(separate_runs(SpeedWorld(state=state), runs, trials, REPLICATES, draw), ALPHA)


def test_a_history_has_power() -> None:
    draw = np.random.default_rng(13)
    found = single_seeds(QualityWorld(discordance=0.04), "eval_accuracy", 10, REPLICATES, draw, change=-DROP)
    assert found > 0.5
    assert separate_runs(SpeedWorld(), 5, 3, REPLICATES, draw, ratio=SLOWER) > 0.9


def _earlier_runs(padding: PaddingStrategy, windows: list[tuple[float, float]]) -> Group:
    """Runs of one trial each, as seconds from the first start, of increasing speed."""
    reports = []
    for place, (begin, end) in enumerate(windows):
        started = STARTED + timedelta(seconds=begin)
        result = make_result(
            make_trial(padding), started=started, duration_s=end - begin, samples_per_second=25.0 + place
        )
        reports.append(make_report([result], run=f"{padding}{place}", created=started))
    return collect(reports, []).trials


def test_runs_of_two_variants_that_overlap_in_a_chain_give_no_variance() -> None:
    static = _earlier_runs("static", [(0, 600), (720, 1320)])
    dynamic = _earlier_runs("dynamic", [(500, 800), (1200, 1500)])
    for group in (static, dynamic):
        known = run_evidence([group], "train_real_tokens_per_second").variance
        assert known is not None
        assert known.runs == 2
    found = run_evidence([static, dynamic], "train_real_tokens_per_second")
    assert found.variance is None
    assert found.notes == (
        "the history has 1 other run of this variant on this machine: "
        "a variance between runs needs two or more",
    )


def test_a_single_run_of_one_variant_adds_neither_variance_nor_a_name() -> None:
    static, dynamic = _earlier_runs("static", [(0, 9)]), _earlier_runs("dynamic", [(0, 9), (900, 909)])
    found = run_evidence([static, dynamic], "train_real_tokens_per_second")
    assert found == run_evidence([dynamic], "train_real_tokens_per_second")
    assert found.notes == ("variance between runs from 2 earlier runs: runs dynamic0 and dynamic1",)
