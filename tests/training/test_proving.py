"""A proof passes variants that compute the plain function, and catches each way of not doing so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness.analysis.parity import judge, limits, verdict_of
from harness.model.job import Job, Progress, TrialStoppedError
from harness.model.results import TrialResult
from harness.model.values import Attention, Engine, LastLayer, PaddingStrategy, Precision
from harness.training.checkpoints import LoadedModel
from harness.training.padding import Collator
from harness.training.preparing import prepare_model, prepare_tokens
from harness.training.proofs.function import spread
from harness.training.run_trial import run_trial
from harness.training.tokenizing.tokens import Tokenized
from harness.training.variants import encoders
from harness.training.variants.unpadding import Layout
from tests.training.conftest import MakeJob

pytestmark = pytest.mark.heavy
Batch = dict[str, torch.Tensor]


def prove(job: Job) -> TrialResult:
    said: list[Progress] = []
    result = run_trial(job.model_copy(update={"purpose": "prove"}), said.append)
    assert said[-1].phase == "prove"
    return result


Way = tuple[str, Attention, Engine]
# Every pair of two values.
PAIRWISE: tuple[Way, ...] = (
    ("bert", "sdpa", "trainer"),
    ("bert", "eager", "loop"),
    ("distilbert", "sdpa", "loop"),
    ("distilbert", "eager", "trainer"),
)
EVERY: tuple[Way, ...] = (
    *PAIRWISE,
    ("bert", "sdpa", "loop"),
    ("bert", "eager", "trainer"),
    ("distilbert", "sdpa", "trainer"),
    ("distilbert", "eager", "loop"),
)


def ways(*padded: PaddingStrategy) -> list[tuple[PaddingStrategy, str, Attention, Engine]]:
    """Every way without padding, which models, attention and engines all take part in."""
    return [
        *((strategy, *way) for strategy in padded for way in PAIRWISE),
        *(("unpadded", *way) for way in EVERY),
    ]


@pytest.mark.parametrize(("strategy", "model", "attention", "engine"), ways("static", "dynamic", "bucketed"))
def test_every_strategy_computes_the_plain_function_in_fp32(
    strategy: PaddingStrategy, attention: Attention, model: str, engine: Engine, make_job: MakeJob
) -> None:
    result = prove(make_job(model, padding=strategy, attention=attention, engine=engine))
    assert verdict_of(result) == "exact"
    assert result.parity is not None
    assert result.parity.flipped_predictions == 0
    assert result.parity.examples == 24
    assert result.epochs == ()


@pytest.mark.parametrize(("strategy", "model", "attention", "engine"), ways("static"))
def test_a_last_layer_of_first_rows_computes_the_plain_function(
    strategy: PaddingStrategy, attention: Attention, model: str, engine: Engine, make_job: MakeJob
) -> None:
    job = make_job(model, padding=strategy, attention=attention, engine=engine, last_layer="cls")
    assert verdict_of(prove(job)) == "exact"


@pytest.mark.parametrize("last_layer", ["all", "cls"])
@pytest.mark.parametrize("model", ["bert", "distilbert"])
@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_jagged_attention_computes_the_plain_function(
    last_layer: LastLayer, model: str, engine: Engine, make_job: MakeJob
) -> None:
    job = make_job(model, padding="unpadded", attention="jagged", engine=engine, last_layer=last_layer)
    assert verdict_of(prove(job)) == "exact"


def test_jagged_attention_in_bf16_is_within_its_threshold(make_job: MakeJob) -> None:
    job = make_job(padding="unpadded", attention="jagged", engine="loop", precision="bf16")
    assert verdict_of(prove(job)) == "within"


def test_jagged_attention_of_padded_batches_is_refused(make_job: MakeJob) -> None:
    with pytest.raises(TrialStoppedError, match="unpadded") as caught:
        prove(make_job(padding="dynamic", attention="jagged"))
    assert caught.value.hint == "set attention: sdpa"


@pytest.mark.parametrize("strategy", ["dynamic", "unpadded"])
@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_bf16_is_within_its_threshold_but_not_exact(
    strategy: PaddingStrategy, engine: Engine, make_job: MakeJob
) -> None:
    assert verdict_of(prove(make_job(padding=strategy, engine=engine, precision="bf16"))) == "within"


def test_the_shortest_and_the_longest_example_are_among_those_compared() -> None:
    lengths = np.random.default_rng(0).integers(20, 100, 408)
    lengths[[17, 300]] = 5, 103
    rows = spread(lengths, 64).tolist()
    assert len(set(rows)) == 64
    assert {17, 300} <= set(rows)


def change(name: str, spoil: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Batch], Batch]:
    return lambda batch: {**batch, name: spoil(batch[name])}


@pytest.mark.parametrize(
    "spoil",
    [
        change("attention_mask", torch.ones_like),
        change("labels", lambda labels: labels.roll(1)),
        change("labels", lambda labels: 1 - labels),
        change("token_type_ids", torch.zeros_like),
        change("token_type_ids", lambda types: 1 - types),
        change("input_ids", lambda ids: ids.roll(1, dims=0)),
    ],
    ids=[
        "padding attended",
        "labels shuffled",
        "labels flipped",
        "no types",
        "types swapped",
        "rows shuffled",
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_collator_that_gives_other_inputs_is_caught(
    spoil: Callable[[Batch], Batch],
    precision: Precision,
    make_job: MakeJob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = Collator.__call__
    monkeypatch.setattr(Collator, "__call__", lambda self, rows: spoil(right(self, rows)))
    assert verdict_of(prove(make_job(precision=precision))) == "differs"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_attention_across_rows_is_caught(
    engine: Engine, precision: Precision, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    pad = Layout.pad

    def leak(self: Layout, flat: torch.Tensor) -> torch.Tensor:
        padded = pad(self, flat)
        return padded if padded.ndim < 4 else padded + 0.5 * padded.roll(1, dims=0)

    # The refusal at the start would catch it first.
    monkeypatch.setattr(encoders, "_logits", lambda model, refuse: torch.ones(1))
    monkeypatch.setattr(Layout, "pad", leak)
    assert verdict_of(prove(make_job(padding="unpadded", engine=engine, precision=precision))) == "differs"


def only_where(
    right: Callable[[Collator, Any], Batch], size: int, spoil: Callable[[Batch], Batch]
) -> Callable[[Collator, Any], Batch]:
    """A collator that spoils batches of `size` rows and no others."""

    def collate(self: Collator, rows: Any) -> Batch:
        batch = right(self, rows)
        return spoil(batch) if len(rows) == size else batch

    return collate


@pytest.mark.parametrize(
    ("size", "train"),
    [
        (16, {"per_device_train_batch_size": 16}),
        (4, {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 3}),
        (10, {"per_device_eval_batch_size": 10}),
        (6, {"per_device_eval_batch_size": 7}),
    ],
    ids=["own batch", "short last batch", "own evaluation batch", "short last evaluation batch"],
)
@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_the_proof_takes_the_batches_of_the_trial(
    size: int, train: dict[str, int], engine: Engine, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluated are one batch and 13 rows: 23 rows with batches of 10, 20 with batches of 7."""
    spoil = change("input_ids", lambda ids: ids.roll(1, dims=0))
    monkeypatch.setattr(Collator, "__call__", only_where(Collator.__call__, size, spoil))
    assert verdict_of(prove(make_job(engine=engine, train=train))) == "differs"


def freeze_embedding(loaded: LoadedModel) -> None:
    loaded.model.get_input_embeddings().weight.requires_grad_(False)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_frozen_embedding_is_caught_and_named(
    precision: Precision, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepare_model

    def frozen(*args: Any) -> LoadedModel:
        loaded = made(*args)
        freeze_embedding(loaded)
        return loaded

    monkeypatch.setattr("harness.training.run_trial.prepare_model", frozen)
    result = prove(make_job(precision=precision))
    assert verdict_of(result) == "differs"
    assert result.parity is not None
    assert "of bert.embeddings.word_embeddings.weight 1.0e+00" in limits(result.parity, precision)


@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_in_bf16_a_mask_one_too_long_and_a_row_twice_are_caught(
    engine: Engine, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def longer(batch: Batch) -> Batch:
        mask = batch["attention_mask"]
        width = torch.arange(mask.shape[1])
        return {**batch, "attention_mask": (width <= mask.sum(dim=1, keepdim=True)).long()}

    def twice(batch: Batch) -> Batch:
        return {name: torch.cat([each[:-1], each[:1]]) for name, each in batch.items()}

    right = Collator.__call__
    for spoil in (longer, twice):
        with monkeypatch.context() as patched:
            patched.setattr(Collator, "__call__", lambda self, rows, spoil=spoil: spoil(right(self, rows)))
            result = prove(make_job(engine=engine, precision="bf16"))
        assert verdict_of(result) == "differs"
        assert result.parity is not None
        assert result.parity.fp32 is not None
        assert judge(result.parity.fp32, "fp32") == "differs"


@pytest.mark.parametrize("where", ["evaluation", "engines.loop"])
def test_a_bf16_trial_that_runs_in_fp32_is_refused(
    where: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"harness.training.{where}.autocast", lambda *_args, **_options: nullcontext())
    result = prove(make_job(engine="loop", precision="bf16"))
    assert verdict_of(result) == "differs"
    assert result.parity is not None
    name = "evaluation" if where == "evaluation" else "training"
    assert f"{name} equals fp32: it did not run in bf16" in limits(result.parity, "bf16")


def test_token_ids_that_are_not_those_of_their_texts_are_caught(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepare_tokens

    def swapped(*args: Any) -> Tokenized:
        tokens = made(*args)
        rows = np.arange(len(tokens.train))
        rows[[0, 1]] = 1, 0
        return replace(tokens, train=tokens.train.select(rows))

    monkeypatch.setattr("harness.training.run_trial.prepare_tokens", swapped)
    job = make_job(train={"per_device_train_batch_size": 32})
    with pytest.raises(TrialStoppedError, match=r"2 of .* rows have other tokens or labels"):
        prove(job)
    # The proof looks at the rows of its own batches, which need not be those of the check of every trial.
    monkeypatch.setattr("harness.training.run_trial.check_rows", lambda *_: None)
    result = prove(job)
    assert result.parity is not None
    assert result.parity.wrong_rows > 0
    assert verdict_of(result) == "differs"


def test_an_engine_that_scales_its_gradients_is_caught(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.training.engines.trainer import _Trainer  # noqa: PLC0415 - the class under test's own seam

    step = _Trainer.training_step

    def doubled(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = step(self, *args, **kwargs)
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(1.1)
        return loss

    monkeypatch.setattr(_Trainer, "training_step", doubled)
    assert verdict_of(prove(make_job())) == "differs"
