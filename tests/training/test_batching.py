from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.values import Padding, PaddingStrategy
from harness.training.batching import Batch, plan_epoch, step_window

STRATEGIES: list[PaddingStrategy] = ["static", "dynamic", "bucketed", "unpadded"]
lengths_of = st.lists(st.integers(3, 128), min_size=1, max_size=200).map(np.array)


@given(
    lengths=lengths_of, size=st.integers(1, 40), seed=st.integers(0, 9), strategy=st.sampled_from(STRATEGIES)
)
def test_every_row_is_in_one_batch_and_no_batch_is_too_large(
    lengths: np.ndarray, size: int, seed: int, strategy: PaddingStrategy
) -> None:
    padding = Padding(strategy=strategy)
    batches = plan_epoch(lengths, size, padding, longest=int(lengths.max()), seed=seed, epoch=0)
    assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(len(lengths)))
    assert max(len(batch.rows) for batch in batches) <= size
    assert sum(batch.real_tokens for batch in batches) == lengths.sum()
    assert all(batch.real_tokens <= batch.computed_tokens for batch in batches)


def test_only_bucketed_changes_which_rows_meet() -> None:
    lengths = np.random.default_rng(0).integers(10, 100, 500)
    plans = {
        name: plan_epoch(lengths, 8, Padding(strategy=name), longest=99, seed=3, epoch=1)
        for name in STRATEGIES
    }
    rows = {name: [batch.rows.tolist() for batch in plan] for name, plan in plans.items()}
    assert rows["static"] == rows["dynamic"] == rows["unpadded"] != rows["bucketed"]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    lengths = np.full(64, 5)
    orders = {
        tuple(
            np.concatenate(
                [b.rows for b in plan_epoch(lengths, 8, Padding(strategy="dynamic"), longest=5, **at)]
            )
        )
        for at in (
            {"seed": 0, "epoch": 0},
            {"seed": 0, "epoch": 1},
            {"seed": 1, "epoch": 0},
            {"seed": 0, "epoch": 0},
        )
    }
    assert len(orders) == 3


@pytest.mark.parametrize(
    ("padding", "computed"),
    [
        (Padding(strategy="static"), 4 * 20),
        (Padding(strategy="static", length=32), 4 * 32),
        (Padding(strategy="static", multiple_of=8), 4 * 24),
        (Padding(strategy="dynamic"), 4 * 11),
        (Padding(strategy="dynamic", multiple_of=8), 4 * 16),
        (Padding(strategy="unpadded"), 32),
    ],
    ids=str,
)
def test_the_tokens_that_a_batch_computes(padding: Padding, computed: int) -> None:
    (batch,) = plan_epoch(np.array([5, 7, 11, 3]), 4, padding, longest=20, seed=0, epoch=0)
    assert (batch.real_tokens, batch.computed_tokens) == (26, computed)


@pytest.mark.parametrize(("strategy", "low", "high"), [("dynamic", 0.6, 0.8), ("bucketed", 0.96, 1.0)])
def test_grouping_lengths_leaves_little_padding(strategy: PaddingStrategy, low: float, high: float) -> None:
    lengths = np.random.default_rng(0).normal(53, 15, 3_668).clip(16, 103).astype(np.int64)
    plan = plan_epoch(lengths, 8, Padding(strategy=strategy), longest=103, seed=0, epoch=0)
    assert low < sum(b.real_tokens for b in plan) / sum(b.computed_tokens for b in plan) < high


@given(lengths=lengths_of, size=st.integers(1, 9), accumulated=st.integers(1, 3), warm_up=st.integers(0, 50))
def test_a_window_has_whole_steps_of_the_training_and_meets_each_shape_before(
    lengths: np.ndarray, size: int, accumulated: int, warm_up: int
) -> None:
    padding = Padding(strategy="dynamic")
    plan = plan_epoch(lengths, size, padding, longest=int(lengths.max()), seed=0, epoch=0)
    steps = [plan[start : start + accumulated] for start in range(0, len(plan), accumulated)]
    chosen = step_window(steps, warm_up)
    at = {id(step): place for place, step in enumerate(steps)}
    places = [at[id(step)] for step in chosen.timed]
    assert places == sorted(set(places))
    assert len({len(step) for step in (*chosen.warm_up, *chosen.timed)}) == 1
    assert len(chosen.warm_up) >= warm_up
    before = [[batch.computed_tokens for batch in step] for step in chosen.warm_up]
    assert all([batch.computed_tokens for batch in step] in before for step in chosen.timed)
    assert sum(before[0]) == max(sum(tokens) for tokens in before)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_steps_of_a_window_do_the_mean_work_of_the_training(strategy: PaddingStrategy) -> None:
    lengths = np.random.default_rng(0).integers(20, 110, 920)
    steps = [
        [batch]
        for epoch in range(3)
        for batch in plan_epoch(lengths, 8, Padding(strategy=strategy), longest=109, seed=0, epoch=epoch)
    ]
    timed = step_window(steps, 10).timed
    assert len(timed) == len(steps) // 12

    def mean(chosen: Sequence[Sequence[Batch]], name: str) -> float:
        return float(np.mean([getattr(batch, name) for step in chosen for batch in step]))

    for name in ("real_tokens", "computed_tokens"):
        assert mean(timed, name) == pytest.approx(mean(steps, name), rel=0.01)


@pytest.mark.parametrize("steps", [25, 31, 36, 41, 47, 60])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_steps_of_a_window_do_the_mean_work_of_a_short_training(
    strategy: PaddingStrategy, steps: int
) -> None:
    lengths = np.random.default_rng(0).integers(20, 110, 8 * steps)
    plan = plan_epoch(lengths, 8, Padding(strategy=strategy), longest=109, seed=0, epoch=0)
    timed = step_window([[batch] for batch in plan], 10).timed
    for name in ("real_tokens", "computed_tokens"):
        given = [getattr(batch, name) for step in timed for batch in step]
        assert np.mean(given) == pytest.approx(np.mean([getattr(each, name) for each in plan]), rel=0.03)
