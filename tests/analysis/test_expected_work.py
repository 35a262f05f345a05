"""The work that settings and data imply, against the batches that a training of them plans."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.checks.expected_work import expected_work
from harness.model.arguments import Train
from harness.model.values import Padding
from harness.training.batching import plan_epoch
from tests.factories import make_data, make_trial

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=70)
paddings = st.one_of(
    st.builds(Padding, strategy=st.sampled_from(["dynamic", "bucketed", "unpadded"])),
    st.builds(
        Padding,
        strategy=st.sampled_from(["dynamic", "bucketed", "static"]),
        multiple_of=st.sampled_from([None, 1, 8]),
    ),
    st.builds(Padding, strategy=st.just("static"), length=st.integers(60, 80)),
)
trains = st.builds(
    Train,
    num_train_epochs=st.integers(1, 3),
    max_steps=st.one_of(st.just(-1), st.integers(1, 12)),
    per_device_train_batch_size=st.integers(1, 9),
    gradient_accumulation_steps=st.integers(1, 3),
)


@given(rows=lengths, padding=paddings, train=trains, warmup=st.integers(0, 6), seed=st.integers(0, 99))
def test_what_a_training_does_lies_within_what_is_expected(
    rows: list[int], padding: Padding, train: Train, warmup: int, seed: int
) -> None:
    sizes, size = np.asarray(rows, dtype=np.int64), train.gradient_accumulation_steps
    steps = []
    for epoch in range(12 if train.max_steps > 0 else train.num_train_epochs):
        planned = plan_epoch(
            sizes,
            train.per_device_train_batch_size,
            padding,
            longest=max(rows),
            seed=seed,
            epoch=epoch,
        )
        steps += [planned[start : start + size] for start in range(0, len(planned), size)]
    steps = steps[: train.max_steps] if train.max_steps > 0 else steps
    data = make_data(train_examples=len(rows), longest=max(rows), mean_length=float(np.mean(rows)))
    work = expected_work(make_trial(padding, train=train), data, warmup)
    timed = [batch for step in steps[warmup:] for batch in step]
    assert work.steps == len(steps[warmup:])
    examples = sum(len(batch.rows) for batch in timed)
    real, computed = (
        sum(getattr(batch, name) for batch in timed) for name in ("real_tokens", "computed_tokens")
    )
    for value, (low, high) in (
        (examples, work.examples),
        (real, work.real_tokens),
        (computed, work.computed_tokens(examples, real)),
    ):
        assert low - 1e-6 <= value <= high + 1e-6


def test_the_counts_of_mrpc_are_exact() -> None:
    data = make_data(train_examples=3_668, mean_length=53.24)
    work = expected_work(make_trial("dynamic"), data, 10)
    assert (work.steps, work.examples) == (3 * 459 - 10, (3 * 3_668 - 80,) * 2)
    low, high = work.real_tokens
    assert high - low < 0.02 * high
