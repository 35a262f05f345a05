from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.forecast.estimating import estimate
from harness.analysis.forecast.likeness import EarlierRun, Range, Setting
from harness.model.arguments import Train
from harness.model.measurements import unmeasured
from harness.model.results import TrialResult
from harness.model.tasks import Task
from harness.model.trial import Trial
from tests.factories import STARTED, make_data, make_environment, make_result, make_trial

HERE = Setting(
    make_environment(),
    threads=2,
    gpus={},
    stand_ins={("tiny-uncased", None): False},
    synthetic={Task(): False},
)


def result(trial: Trial, seconds: float = 10.0, /, **changes: Any) -> TrialResult:
    where = make_environment(threads=2)
    return make_result(trial, environment=where).model_copy(update={"duration_s": seconds, **changes})


def run(*results: TrialResult, proofs: tuple[TrialResult, ...] = ()) -> EarlierRun:
    return EarlierRun("earlier", STARTED - timedelta(seconds=3), results, proofs, 1000.0)


@given(st.lists(st.floats(0.1, 1e5), min_size=1, max_size=5), st.integers(1, 4))
def test_a_range_contains_what_the_same_variant_took(seconds: list[float], trials: int) -> None:
    runs = [run(*(result(make_trial(seed=seed), each) for seed, each in enumerate(seconds)))]
    found = estimate([make_trial(seed=100 + seed) for seed in range(trials)], runs, HERE, proved=None)
    assert not found.unknown
    for each in found.trials.values():
        assert not each.unlike
        assert each.seconds.low < min(seconds) <= max(seconds) < each.seconds.high
    assert found.seconds is not None
    assert found.seconds.low <= trials * min(seconds) + 3 <= found.seconds.high


def test_a_trial_that_was_interrupted_and_continued_tells_no_time() -> None:
    last_part = result(make_trial(seed=1), 0.1)
    why = "the trial was interrupted and continued after step 6, in another process"
    measurements = tuple(
        unmeasured(each.metric, why) if each.metric == "train_seconds" else each
        for each in last_part.measurements
    )
    whole, continued = result(make_trial()), last_part.model_copy(update={"measurements": measurements})
    found = estimate([make_trial()], [run(whole, continued)], HERE, proved=None)
    assert found == estimate([make_trial()], [run(whole)], HERE, proved=None)
    assert estimate([make_trial()], [run(continued)], HERE, proved=None).unknown


def test_another_padding_widens_the_range_and_is_named() -> None:
    runs = [run(result(make_trial("static")))]
    (same,) = estimate([make_trial("static")], runs, HERE, proved=None).trials.values()
    (other,) = estimate([make_trial("dynamic")], runs, HERE, proved=None).trials.values()
    assert same.unlike == ()
    assert other.unlike == ("padding static, now dynamic",)
    assert other.seconds.low < same.seconds.low < same.seconds.high < other.seconds.high


def test_a_learning_rate_changes_no_time_and_more_epochs_change_it_in_proportion() -> None:
    runs = [run(result(make_trial(), 1.5 + 9.0, measurements=()))]
    rate = make_trial(train=Train(learning_rate=1e-3))
    longer = make_trial(train=Train(num_train_epochs=30))
    found = estimate([rate, longer], runs, HERE, proved=None)
    assert found.trials[rate.id].unlike == ()
    assert found.trials[rate.id].seconds == Range(10.5 / 1.25, 10.5 * 1.25)
    assert found.trials[longer.id].unlike == ("train.num_train_epochs 3, now 30",)
    assert found.trials[longer.id].seconds.low < 105 < found.trials[longer.id].seconds.high


@pytest.mark.parametrize(
    "changes",
    [
        {
            "environment": make_environment(
                threads=2, cpu=make_environment().cpu.model_copy(update={"model": "x"})
            )
        },
        {"status": "failed", "reason": "x"},
        {"data": make_data(synthetic=True)},
        {"trial": make_trial(checkpoint="other")},
        {"trial": make_trial(device="cuda:0")},
    ],
    ids=["machine", "failed", "data", "checkpoint", "device"],
)
def test_results_of_something_else_tell_nothing(changes: dict[str, Any]) -> None:
    found = estimate([make_trial()], [run(result(make_trial(), **changes))], HERE)
    assert found.unknown == (make_trial(),)
    assert found.seconds is None


def test_another_torch_and_other_programs_are_named_and_an_equal_setting_comes_first() -> None:
    where = make_environment(threads=2, load_average=9.0, packages={"torch": "1.0"})
    old = result(make_trial(seed=1), 99.0, environment=where)
    (found,) = estimate([make_trial()], [run(old)], HERE, proved=None).trials.values()
    assert found.unlike == ("torch 1.0, now 2.13.0", "other programs used the processor")
    (found,) = estimate([make_trial()], [run(old, result(make_trial()))], HERE, proved=None).trials.values()
    assert found.unlike == ()
    assert found.seconds.high < 99


def test_trials_at_once_take_between_their_share_and_all_of_the_time() -> None:
    trials = [make_trial(seed=seed) for seed in range(4)]
    runs = [run(result(make_trial()))]
    one = estimate(trials, runs, HERE, proved=None).seconds
    two = estimate(trials, runs, replace(HERE, jobs=2, threads=1), proved=None)
    assert one is not None
    assert two.seconds is not None
    assert two.seconds.low < one.low < one.high == pytest.approx(two.seconds.high)
    assert two.trials[trials[0].id].unlike == ("1 at once, now 2",)


def test_what_is_reused_or_unavailable_is_not_counted_and_proofs_without_a_time_are_left_open() -> None:
    trials = [make_trial(seed=seed) for seed in range(3)]
    found = estimate(
        trials, [run(result(make_trial()))], HERE, reused={trials[0].id}, unavailable={trials[1].id}
    )
    assert (found.to_run, found.reused, found.unavailable) == (1, 1, 1)
    assert found.proof_seconds is None


def test_proofs_are_timed_by_earlier_ones_and_shared_by_trials_at_once() -> None:
    proof = result(make_trial(), 4.0)
    trial = make_trial(seed=9)
    found = estimate([trial], [run(result(make_trial()), proofs=(proof,))], HERE)
    assert found.proof_seconds is not None
    assert found.proof_seconds.low < 8 < found.proof_seconds.high
    beside = estimate([trial], [run(result(make_trial()), proofs=(proof,))], replace(HERE, jobs=2))
    assert beside.proof_seconds is not None
    assert beside.proof_seconds.high == pytest.approx(found.proof_seconds.high)
    assert beside.proof_seconds.low == pytest.approx(found.proof_seconds.low / 2)
