"""The strategies that are `Trainer`'s own samplers give the batches of a real `Trainer`, by example id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, trainer_pt_utils

from harness.analysis.checks.expected_work import expected_work
from harness.analysis.parity import verdict_of
from harness.analysis.training_verdicts import failed_checks, training_of
from harness.model.arguments import Train
from harness.model.job import TrialStoppedError
from harness.model.values import Padding, PaddingStrategy
from harness.training import sampling
from harness.training.batching import plan_epoch
from harness.training.run_trial import run_trial
from harness.training.sampling import sampled_epoch
from tests.factories import make_data, make_trial
from tests.training.conftest import MakeJob, quietly

pytestmark = pytest.mark.heavy

STRATEGIES: list[PaddingStrategy] = ["group_by_length", "batch_rebalance"]
lengths_of = st.lists(st.integers(3, 128), min_size=1, max_size=120).map(
    lambda lengths: np.array(lengths, dtype=np.int64)
)


class Recorder(nn.Module):
    """A model that trains on nothing and keeps the example ids of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.batches: list[list[int]] = []

    def forward(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        self.batches.append(ids.tolist())
        return {"loss": self.linear(ids[:, None].float() * 1e-6).mean()}


@pytest.mark.parametrize("accumulated", [1, 3])
@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_three_epochs_are_those_of_a_real_trainer(
    strategy: PaddingStrategy, seed: int, accumulated: int, tmp_path: Path
) -> None:
    lengths = np.random.default_rng(3).integers(4, 60, 101)
    rows = [{"input_ids": [1] * int(length), "id": at} for at, length in enumerate(lengths)]
    model = Recorder()
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        train_sampling_strategy=strategy,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=accumulated,
        num_train_epochs=3,
        seed=seed,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    Trainer(
        model=model,
        args=arguments,
        train_dataset=cast("Dataset[Any]", rows),
        data_collator=lambda batch: {"ids": torch.tensor([row["id"] for row in batch])},
    ).train()
    planned = [
        batch.tolist()
        for epoch in range(3)
        for batch in sampled_epoch(lengths, 8, strategy, accumulated=accumulated, seed=seed, epoch=epoch)
    ]
    assert model.batches == planned


@given(
    lengths=lengths_of,
    size=st.integers(1, 9),
    accumulated=st.integers(1, 4),
    strategy=st.sampled_from(STRATEGIES),
)
def test_every_row_is_planned_and_the_callers_generator_stays(
    lengths: np.ndarray, size: int, accumulated: int, strategy: PaddingStrategy
) -> None:
    before = torch.random.get_rng_state()
    batches = sampled_epoch(lengths, size, strategy, accumulated=accumulated, seed=3, epoch=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    rows = np.concatenate(batches)
    assert set(rows.tolist()) == set(range(len(lengths)))
    # A last step with fewer rows than batches repeats rows, as Trainer's sampler does.
    assert len(rows) < len(lengths) + accumulated
    assert strategy == "batch_rebalance" or len(rows) == len(lengths)


@given(
    lengths=lengths_of,
    strategy=st.sampled_from(STRATEGIES),
    size=st.integers(1, 9),
    accumulated=st.integers(1, 4),
    max_steps=st.one_of(st.just(-1), st.integers(1, 12)),
    warmup=st.integers(0, 6),
)
def test_what_a_training_does_lies_within_what_is_expected(
    lengths: np.ndarray, strategy: PaddingStrategy, size: int, accumulated: int, max_steps: int, warmup: int
) -> None:
    padding, longest = Padding(strategy=strategy), int(lengths.max())
    train = Train(
        num_train_epochs=2,
        max_steps=max_steps,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulated,
    )
    steps = []
    for epoch in range(12 if max_steps > 0 else 2):
        planned = plan_epoch(
            lengths, size, padding, longest=longest, seed=1, epoch=epoch, accumulated=accumulated
        )
        steps += [planned[start : start + accumulated] for start in range(0, len(planned), accumulated)]
    steps = steps[:max_steps] if max_steps > 0 else steps
    data = make_data(train_examples=len(lengths), longest=longest, mean_length=float(lengths.mean()))
    work = expected_work(make_trial(padding, train=train), data, warmup)
    timed = [batch for step in steps[warmup:] for batch in step]
    assert work.steps == len(steps[warmup:])
    for value, (low, high) in (
        (sum(len(batch.rows) for batch in timed), work.examples),
        (sum(batch.real_tokens for batch in timed), work.real_tokens),
    ):
        assert low - 1e-6 <= value <= high + 1e-6


@pytest.mark.parametrize("model", ["bert", "distilbert"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_they_are_proved(strategy: PaddingStrategy, model: str, make_job: MakeJob) -> None:
    job = make_job(model, padding=strategy)
    assert verdict_of(run_trial(job.model_copy(update={"purpose": "prove"}), quietly)) == "exact"
    assert failing(job, model) == {}


def failing(job: Any, model: str) -> dict[str, str]:
    trial = training_of(job.trial, model)
    result = run_trial(job.model_copy(update={"trial": trial, "purpose": "prove_training"}), quietly)
    return {check.name: check.found for check in failed_checks(result)}


def test_a_plan_in_another_order_is_caught(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded = sampling._seeded

    @contextmanager
    def otherwise(seed: int) -> Iterator[None]:
        with seeded(seed + 1):
            yield

    monkeypatch.setattr(sampling, "_seeded", otherwise)
    assert {"batch plan", "batches"} <= failing(make_job(padding="group_by_length"), "bert").keys()


def test_a_rebalanced_plan_without_its_tail_is_caught(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dropping(trainer_pt_utils.BatchRebalanceSampler):
        def __init__(self, **options: Any) -> None:
            super().__init__(**{**options, "drop_last": True})

    monkeypatch.setattr(sampling, "_sampler", lambda _strategy: Dropping)
    assert "batch plan" in failing(make_job(padding="batch_rebalance"), "bert")


def test_seeds_of_a_rebalanced_variant_train_in_one_order_and_the_result_tells_so(make_job: MakeJob) -> None:
    result = run_trial(make_job(padding="batch_rebalance", train={"max_steps": 2}), quietly)
    assert any("one order for all seeds" in note for note in result.notes)


def test_a_release_without_the_sampler_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(trainer_pt_utils, "BatchRebalanceSampler")
    with pytest.raises(TrialStoppedError, match="has no BatchRebalanceSampler") as caught:
        sampled_epoch(np.array([3, 4]), 1, "batch_rebalance", accumulated=1, seed=0, epoch=0)
    assert caught.value.status == "unavailable"
    assert str(caught.value.hint).endswith("or use padding: bucketed")
