"""Whole trials on small checkpoints: what an engine's table entry must do, and what a result must hold."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from harness.analysis.checks.observed import did_not_move
from harness.analysis.checks.verification import contradictions
from harness.model.job import Progress, TrialStoppedError
from harness.model.observations import Apart
from harness.model.results import TrialResult
from harness.model.values import Engine, Padding, Precision
from harness.training import checkpoints, evaluation
from harness.training.batching import LEAST_TIMED
from harness.training.checkpoints import LoadedModel
from harness.training.engines import loop as loop_engine
from harness.training.measuring.observing import TrainingWatch
from harness.training.measuring.trial_roofline import PEAKS
from harness.training.run_trial import run_trial
from tests.training.conftest import MakeJob, quietly

pytestmark = pytest.mark.heavy


def test_a_result_holds_quality_measurements_predictions_and_what_was_used(make_job: MakeJob) -> None:
    said: list[Progress] = []
    result = run_trial(make_job(), said.append)
    assert result.status == "completed"
    assert [epoch.epoch for epoch in result.epochs] == [1, 2]
    assert result.value("eval_accuracy") == result.epochs[-1].scores["eval_accuracy"]
    assert result.predictions is not None
    assert len(result.predictions.logits) == 24
    right = np.argmax(result.predictions.logits, axis=1) == np.array(result.predictions.labels)
    assert right.mean() == pytest.approx(result.value("eval_accuracy"))
    steps = result.measurement("train_step_seconds")
    assert steps is not None
    assert len(steps.values) == 2 * 8 - 2
    seen = [progress.phase for progress in said]
    assert list(dict.fromkeys(seen)) == [
        "load_data",
        "tokenize",
        "load_model",
        "roofline",
        "train",
        "evaluate",
        "write",
    ]
    assert result.checkpoint is not None
    assert result.checkpoint.columns == ("input_ids", "attention_mask", "token_type_ids")
    assert result.data is not None
    assert (result.data.train_examples, result.data.eval_examples, result.data.synthetic) == (64, 24, True)
    assert result.environment is not None
    assert result.environment.device is not None
    assert result.environment.threads == 1
    assert TrialResult.model_validate_json(result.model_dump_json()) == result


@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_the_same_seed_gives_the_same_logits_and_another_seed_does_not(
    engine: Engine, make_job: MakeJob
) -> None:
    first, again, other = (
        run_trial(make_job(engine=engine, seed=seed), quietly).predictions for seed in (0, 0, 1)
    )
    assert first == again != other


def without_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    load = checkpoints.load_model

    def still(*args: Any, **kwargs: Any) -> LoadedModel:
        loaded = load(*args, **kwargs)
        for part in loaded.model.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        return loaded

    monkeypatch.setattr("harness.training.preparing.load_model", still)


@pytest.mark.parametrize("model", ["bert", "distilbert"])
def test_static_dynamic_and_unpadded_train_to_the_same_function(
    model: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_dropout(monkeypatch)
    results = [
        run_trial(make_job(model, padding=name), quietly) for name in ("static", "dynamic", "unpadded")
    ]
    logits = [np.array(result.predictions and result.predictions.logits) for result in results]
    np.testing.assert_allclose(logits[1], logits[0], atol=1e-5)
    np.testing.assert_allclose(logits[2], logits[0], atol=1e-5)
    efficiency = [result.value("padding_efficiency") or 0.0 for result in results]
    assert efficiency[0] < efficiency[1] < efficiency[2]
    assert efficiency[2] > 1 - 15 / (8 * 10)


@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_accumulated_gradients_train_like_one_larger_batch(
    engine: Engine, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against transformers #47688, which multiplies BERT's gradients; the batches here are equal."""
    without_dropout(monkeypatch)
    # No clipping, and an epsilon that makes Adam feel the size of a gradient: both would hide a factor.
    train = {"max_grad_norm": 0.0, "max_steps": 2, "learning_rate": 1e-3, "adam_epsilon": 1.0}
    whole, parts = (
        run_trial(make_job(engine=engine, train={**train, **changed}), quietly)
        for changed in (
            {"per_device_train_batch_size": 16},
            {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2},
        )
    )
    assert whole.predictions is not None
    assert parts.predictions is not None
    np.testing.assert_allclose(parts.predictions.logits, whole.predictions.logits, atol=1e-6)
    assert parts.epochs[-1].train_loss == pytest.approx(whole.epochs[-1].train_loss, abs=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_each_precision_trains_on_the_cpu(engine: Engine, precision: Precision, make_job: MakeJob) -> None:
    result = run_trial(make_job(engine=engine, precision=precision), quietly)
    assert result.status == "completed"
    assert result.checkpoint is not None
    assert result.checkpoint.dtype == "float32"


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"precision": "fp16"}, "unavailable", "fp16 trains on CUDA, not on cpu"),
        (
            {"padding": Padding(strategy="static", length=20)},
            "failed",
            "static length 20 is shorter than the longest",
        ),
        (
            {"padding": Padding(strategy="static", length=64, multiple_of=48)},
            "failed",
            "pads beyond the 64 tokens",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(
    change: dict[str, Any], status: str, reason: str, make_job: MakeJob
) -> None:
    with pytest.raises(TrialStoppedError, match=reason) as caught:
        run_trial(make_job(**change), quietly)
    assert caught.value.status == status
    assert caught.value.hint


def test_an_absent_device_is_unavailable_with_those_that_are_here_and_the_build(make_job: MakeJob) -> None:
    job = make_job()
    absent = job.model_copy(update={"trial": job.trial.model_copy(update={"device": "cuda:97"})})
    words = r"cuda:97 is not here: torch .* can use .*cpu and torch is built for "
    with pytest.raises(TrialStoppedError, match=words) as caught:
        run_trial(absent, quietly)
    assert caught.value.status == "unavailable"


class _NanGradient(torch.autograd.Function):
    """The loss as it is, with a gradient that is not a number."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * math.nan


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda loss: loss * math.nan, "the loss of step 5 is not finite"),
        (lambda loss: loss * math.inf, "the loss of step 5 is not finite"),
        (_NanGradient.apply, "the gradient norm of step 5 is not finite"),
    ],
    ids=["loss NaN", "loss infinite", "gradient NaN"],
)
@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_numbers_that_are_not_finite_end_the_trial_at_their_step(
    spoil: Callable[[torch.Tensor], torch.Tensor],
    reason: str,
    engine: Engine,
    make_job: MakeJob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = checkpoints.load_model
    steps = itertools.count(1)

    def spoil_the_fifth(model: torch.nn.Module, _args: Any, output: Any) -> None:
        if model.training and next(steps) == 5:
            output.loss = spoil(output.loss)

    def load_spoiled(*args: Any, **kwargs: Any) -> LoadedModel:
        loaded = load(*args, **kwargs)
        loaded.model.register_forward_hook(spoil_the_fifth)
        return loaded

    monkeypatch.setattr("harness.training.preparing.load_model", load_spoiled)
    with pytest.raises(TrialStoppedError, match=reason) as caught:
        run_trial(make_job(engine=engine), quietly)
    assert caught.value.status == "diverged"


def test_scores_on_a_single_class_are_degenerate_and_said_to_say_nothing(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(train={"max_steps": 1})
    rows = [
        json.loads(line) | {"label": 1}
        for line in Path(job.data.files["validation"][0]).read_text().splitlines()
    ]
    single = tmp_path / "validation.jsonl"
    single.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = job.data.files | {"validation": (str(single),)}
    result = run_trial(job.model_copy(update={"data": job.data.model_copy(update={"files": files})}), quietly)
    assert result.degenerate
    assert "the evaluation split has a single class: accuracy and F1 are meaningless" in result.notes


def test_max_steps_ends_a_training_early(make_job: MakeJob) -> None:
    result = run_trial(make_job(train={"max_steps": 11}), quietly)
    steps = result.measurement("train_step_seconds")
    assert steps is not None
    assert len(steps.values) == 11 - 2
    assert [epoch.epoch for epoch in result.epochs] == [1, 2]


def test_a_trial_holds_the_peaks_and_its_share_of_them_and_a_second_one_takes_them_from_the_cache(
    make_job: MakeJob,
) -> None:
    job = make_job(roofline=True)
    first, second = (run_trial(job, quietly) for _ in range(2))
    for result in (first, second):
        flops, steps = result.value("model_flops"), result.measurement("train_step_seconds")
        peak, share = result.value("matmul_peak_flops_per_second"), result.value("matmul_peak_share")
        assert flops is not None
        assert steps is not None
        assert peak is not None
        assert share is not None
        assert share == pytest.approx(flops / sum(steps.values) / peak)
        assert result.value("model_flops_per_second") == pytest.approx(share * peak)
    for name in PEAKS:
        assert first.value(name) == second.value(name) != 0.0
    assert first.predictions == second.predictions


@pytest.mark.parametrize(
    ("roofline", "concurrent", "why"),
    [
        (False, 1, "the suite has measure.roofline: false"),
        (True, 2, "no peak can be measured while other trials run"),
    ],
)
def test_a_trial_that_measured_no_peaks_says_why(
    roofline: bool, concurrent: int, why: str, make_job: MakeJob
) -> None:
    job = make_job(roofline=roofline).model_copy(update={"concurrent": concurrent})
    result = run_trial(job, quietly)
    for name in (*PEAKS, "matmul_peak_share"):
        found = result.measurement(name)
        assert found is not None
        assert found.reason == why
    assert result.value("model_flops_per_second")
    assert not (Path(job.cache_dir) / "peaks").exists()


@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_what_a_training_did_is_stored_with_its_result(engine: Engine, make_job: MakeJob) -> None:
    train = {"learning_rate": 1e-3, "gradient_accumulation_steps": 3, "warmup_steps": 1}
    found = run_trial(make_job(engine=engine, train=train), quietly).observed
    assert found is not None
    # Eight batches an epoch are three optimizer steps, the last one over two batches.
    assert found.optimizer_steps == 6
    assert found.first_learning_rate == 0.0
    assert found.last_learning_rate == pytest.approx(1e-3 / 5)
    assert found.dropout_rate == pytest.approx(0.1)
    assert found.dropped_share == pytest.approx(0.1, abs=0.01)
    assert found.dropout_elements > 8 * 10 * 32
    assert 0 < found.parameter_change < 0.5
    assert found.unmoved == ()
    assert found.training_mode == (True, True)


@pytest.mark.parametrize("trains", [True, False])
def test_an_epoch_of_replayed_passes_has_the_mode_of_its_steps(
    trains: bool, checkpoints: dict[str, Path]
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(checkpoints["bert"])
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.ones(2, 4, dtype=torch.long)
    watch = TrainingWatch(model)
    watch.begin()
    model.train()(input_ids=ids).logits.sum().backward()
    optimizer.step()
    watch.new_epoch()
    model.train(trains)
    # A graph repeats the pass without a call of the model; the next call is an evaluation.
    optimizer.step()
    model.eval()(input_ids=ids)
    assert watch.end().training_mode == (True, trains)


def test_without_dropout_no_share_is_observed(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    without_dropout(monkeypatch)
    found = run_trial(make_job(engine="loop"), quietly).observed
    assert found is not None
    assert (found.dropped_share, found.dropout_rate, found.dropout_elements) == (None, None, 0)


def test_a_training_in_evaluation_mode_fails(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluation.predict

    def and_stay(model: Any, *args: Any) -> Any:
        logits = whole(model, *args)
        model.train(mode=False)
        return logits

    monkeypatch.setattr("harness.training.fitting.predict", and_stay)
    with pytest.raises(TrialStoppedError, match="epoch 2 began in evaluation mode") as caught:
        run_trial(make_job(engine="loop"), quietly)
    assert caught.value.status == "failed"


def test_a_schedule_of_other_steps_fails(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loop_engine._schedule
    monkeypatch.setattr(loop_engine, "_schedule", lambda one, other, steps: made(one, other, 2 * steps))
    with pytest.raises(TrialStoppedError, match=r"the last learning rate was 2\.65625e-05, due 3\.125e-06"):
        run_trial(make_job(engine="loop"), quietly)


def test_parameters_that_never_move_are_observed(make_job: MakeJob) -> None:
    result = run_trial(make_job(engine="loop", train={"learning_rate": 1e-30}), quietly)
    assert result.observed is not None
    # Biases that start at zero take even so small a step.
    assert len(result.observed.unmoved) > 20
    assert did_not_move(result)
    assert result.status == "completed"


@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_a_window_times_a_few_steps_and_evaluates_nothing(make_job: MakeJob, engine: Engine) -> None:
    train = {"num_train_epochs": 3, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    job = make_job(engine=engine, train=train).model_copy(update={"purpose": "time"})
    result = run_trial(job, quietly)
    assert (result.status, result.trial, result.epochs, result.predictions) == (
        "completed", job.trial, (), None,
    )  # fmt: skip
    steps = result.measurement("train_step_seconds")
    assert steps is not None
    assert len(steps.values) == LEAST_TIMED
    assert result.value("train_samples_per_second") == pytest.approx(4 * LEAST_TIMED / sum(steps.values))
    assert result.probe is not None
    assert result.value("eval_f1") is None
    assert result.value("peak_memory_host_bytes")


def test_a_training_takes_its_times_from_its_window(make_job: MakeJob) -> None:
    job = make_job(train={"num_train_epochs": 3, "per_device_train_batch_size": 2})
    timed = run_trial(job.model_copy(update={"purpose": "time"}), quietly)
    job = job.model_copy(update={"timed": timed, "concurrent": 2})
    training = run_trial(job, quietly)
    result = job.completed_by(training)
    assert (result.concurrent, result.probe) == (1, timed.probe)
    assert result.apart == Apart(steps=LEAST_TIMED, jobs=2, threads=1)
    assert result.measurement("train_step_seconds") == timed.measurement("train_step_seconds")
    assert result.value("eval_f1") == training.value("eval_f1")
    assert result.value("train_seconds") is None
    assert contradictions(result, warmup_steps=2) == ()


@pytest.mark.parametrize("engine", ["trainer", "loop"])
@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"gradient_accumulation_steps": 5, "per_device_train_batch_size": 3}},
        {
            "train": {"gradient_accumulation_steps": 3, "max_steps": 5, "warmup_steps": 0.5},
            "padding": "bucketed",
        },
    ],
    ids=["a last step of fewer batches", "ended within an epoch"],
)
def test_the_record_of_a_training_agrees_with_its_settings(
    make_job: MakeJob, engine: str, changes: dict[str, Any]
) -> None:
    result = run_trial(make_job(engine=engine, warmup_steps=1, **changes), quietly)
    assert len(result.epochs) == 2
    assert contradictions(result, warmup_steps=1) == ()
    (first, last) = result.epochs
    edited = first.model_copy(update={"train_loss": first.train_loss * 1.01})
    (found,) = contradictions(result.model_copy(update={"epochs": (edited, last)}), warmup_steps=1)
    assert "from the losses of its steps" in str(found)
