"""A training on its own data: its plan is the seed's, and its last evaluation can be repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.model.job import TrialStoppedError
from harness.model.values import Padding, PaddingStrategy
from harness.training import evaluation, fitting
from harness.training.batching import Batch, plan_epoch, step_window
from harness.training.measuring.steps import StepMeter
from harness.training.proofs.own_data import check_plan, check_window
from harness.training.run_trial import run_trial
from tests.factories import make_trial
from tests.training.conftest import MakeJob, quietly

pytestmark = pytest.mark.heavy

STRATEGIES: list[PaddingStrategy] = ["static", "dynamic", "bucketed", "unpadded", "group_by_length"]


def planned(
    strategy: PaddingStrategy, rows: int = 2100, epochs: int = 2
) -> tuple[Any, Any, list[list[Batch]]]:
    trial = make_trial(strategy, 3)
    lengths = np.random.default_rng(0).integers(5, 90, rows)
    padding = Padding(strategy=strategy)
    plan = [plan_epoch(lengths, trial.batch_size, padding, longest=90, seed=3, epoch=at) for at in range(2)]
    return trial, lengths, plan


def blocks(plan: list[list[Batch]]) -> None:
    """As a shuffle buffer of 1,024 rows leaves them."""
    plan[1].sort(key=lambda batch: int(batch.rows.min()) // 1024)


def one_order(plan: list[list[Batch]]) -> None:
    plan[1] = plan[0]


def without_the_last(plan: list[list[Batch]]) -> None:
    plan[1].pop()


def one_row_twice(plan: list[list[Batch]]) -> None:
    rows = plan[1][5].rows.copy()
    rows[0] = rows[1]
    plan[1][5] = replace(plan[1][5], rows=rows)


def without_special_tokens(plan: list[list[Batch]]) -> None:
    plan[1][7] = replace(plan[1][7], real_tokens=plan[1][7].real_tokens - 3)


def padding_left_out(plan: list[list[Batch]]) -> None:
    plan[1][7] = replace(plan[1][7], computed_tokens=plan[1][7].real_tokens - 1)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_plan_of_every_strategy_is_the_seed_s(strategy: PaddingStrategy) -> None:
    trial, lengths, plan = planned(strategy)
    check_plan(trial, lengths, 90, plan)


@pytest.mark.parametrize(
    "spoil", [blocks, one_order, without_the_last, one_row_twice, without_special_tokens, padding_left_out]
)
@pytest.mark.parametrize("strategy", ["dynamic", "bucketed", "unpadded"])
def test_a_plan_that_is_not_the_seed_s_ends_the_trial(
    strategy: PaddingStrategy, spoil: Callable[[list[list[Batch]]], None]
) -> None:
    trial, lengths, plan = planned(strategy)
    spoil(plan)
    with pytest.raises(TrialStoppedError, match=r"the plan of batches is not the seed's: .*epoch 2"):
        check_plan(trial, lengths, 90, plan)


def test_a_training_on_other_batches_fails_before_its_first_step(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*args: Any, **options: Any) -> list[Batch]:
        return plan_epoch(*args, **options)[:-1]

    monkeypatch.setattr(fitting, "plan_epoch", cut)
    with pytest.raises(TrialStoppedError, match="epoch 1 has other batches than seed 0 gives"):
        run_trial(make_job(engine="loop"), quietly)


def test_an_evaluation_that_mixes_rows_up_fails(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def mixed(*args: Any) -> Any:
        logits = evaluation.predict(*args)
        order = args[1].split.lengths.argsort(kind="stable")
        # The last batch of an evaluation has the shortest rows.
        logits[order[:4]] = logits[order[4:8]]
        return logits

    job = make_job(engine="loop", train={"learning_rate": 1e-2})
    monkeypatch.setattr(fitting, "predict", mixed)
    with pytest.raises(TrialStoppedError, match="rows that were evaluated again some have other logits"):
        run_trial(job, quietly)


def test_an_evaluation_inside_of_a_timed_window_fails(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = StepMeter.close_window

    def late(meter: StepMeter) -> None:
        close(meter)
        meter.timing = True

    monkeypatch.setattr(StepMeter, "close_window", late)
    with pytest.raises(TrialStoppedError, match="epoch 1 is evaluated inside of a timed window of training"):
        run_trial(make_job(engine="loop"), quietly)


def twice(steps: list[list[Batch]]) -> list[list[Batch]]:
    return [steps[0], *steps]


def of_others(steps: list[list[Batch]]) -> list[list[Batch]]:
    return [*steps[:-1], planned("dynamic", rows=600)[2][1][:1]]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (twice, "timed step 2 is not a later step of the training than the ones before it"),
        (of_others, "is not a later step of the training than the ones before it"),
        (lambda steps: sorted(steps, key=lambda step: step[0].rows.tolist())[:0], "there are none"),
    ],
)
def test_a_window_of_other_steps_ends_the_trial(
    spoil: Callable[[list[list[Batch]]], list[list[Batch]]], expected: str
) -> None:
    steps = [[batch] for epoch in planned("dynamic")[2] for batch in epoch]
    timed = [list(step) for step in step_window(steps, 10).timed]
    check_window(steps, timed)
    with pytest.raises(TrialStoppedError, match=expected):
        check_window(steps, spoil(timed))


def test_a_window_of_the_longest_steps_ends_the_trial() -> None:
    steps = [[batch] for epoch in planned("dynamic")[2] for batch in epoch]
    longest = sorted(range(len(steps)), key=lambda at: -steps[at][0].computed_tokens)[:40]
    with pytest.raises(TrialStoppedError, match="computed tokens on average, those of the training"):
        check_window(steps, [steps[at] for at in sorted(longest)])
