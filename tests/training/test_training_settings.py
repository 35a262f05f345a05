"""Settings of training beyond AdamW's: each is proved, does what it is for, and a broken one is caught."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel, TrainingArguments, get_scheduler

from harness.analysis.checks.schedule import schedule_factor
from harness.analysis.parity import verdict_of
from harness.analysis.training_verdicts import failed_checks, training_of
from harness.model.arguments import SchedulerKwargs, SchedulerType, Train
from harness.model.axis import names_of_values
from harness.model.job import Job, TrialStoppedError
from harness.model.proof import TrainingCheck
from harness.model.trial import AXES
from harness.model.values import Precision
from harness.training import devices
from harness.training.devices import open_device, precision_of_products, use_products
from harness.training.engines import loop as loop_engine
from harness.training.engines import trainer as trainer_engine
from harness.training.engines.dropout import RandomBits, replace_dropout
from harness.training.engines.trainer import _Trainer
from harness.training.padding import Collator
from harness.training.proofs.precision import check_dtypes
from harness.training.proofs.watching import Seen
from harness.training.run_trial import run_trial
from tests.training.conftest import MakeJob, quietly

pytestmark = pytest.mark.heavy

KWARGS: dict[str, SchedulerKwargs] = {
    "cosine_with_min_lr": SchedulerKwargs(min_lr_rate=0.1),
    "cosine_warmup_with_min_lr": SchedulerKwargs(min_lr_rate=0.1),
    "warmup_stable_decay": SchedulerKwargs(num_decay_steps=2),
}


def problems(job: Job, model: str = "bert") -> dict[str, str]:
    """What the proof of training finds, by check."""
    trial = training_of(job.trial, model)
    result = run_trial(job.model_copy(update={"trial": trial, "purpose": "prove_training"}), quietly)
    return {check.name: check.found for check in failed_checks(result)}


@pytest.mark.parametrize(
    ("engine", "model", "train"),
    [
        ("trainer", "bert", {"optim": "sgd"}),
        ("trainer", "distilbert", {"optim": "sgd", "label_smoothing_factor": 0.2}),
        ("trainer", "bert", {"optim": "adagrad", "gradient_checkpointing": True}),
        ("trainer", "distilbert", {"optim": "adagrad"}),
        ("trainer", "bert", {"optim": "rmsprop", "lr_scheduler_type": "inverse_sqrt"}),
        ("trainer", "distilbert", {"optim": "rmsprop"}),
        ("trainer", "bert", {"optim": "adafactor", "lr_scheduler_type": "polynomial"}),
        ("trainer", "distilbert", {"optim": "adafactor", "gradient_checkpointing": True}),
        ("trainer", "bert", {"label_smoothing_factor": 0.1, "dataloader_num_workers": 2}),
        ("loop", "bert", {"label_smoothing_factor": 0.1, "lr_scheduler_type": "cosine_with_restarts"}),
        ("loop", "distilbert", {"label_smoothing_factor": 0.1, "gradient_checkpointing": True}),
        ("loop", "bert", {"gradient_checkpointing": True, "lr_scheduler_type": "cosine_with_min_lr"}),
        ("loop", "bert", {"lr_scheduler_type": "warmup_stable_decay"}),
        (
            "trainer",
            "bert",
            {
                "lr_scheduler_type": "polynomial",
                "learning_rate": 0.05,
                "lr_scheduler_kwargs": SchedulerKwargs(lr_end=0.04, power=2.0),
            },
        ),
        ("trainer", "distilbert", {"lr_scheduler_type": "cosine_warmup_with_min_lr"}),
    ],
    ids=lambda each: " ".join(map(str, each.items())) if isinstance(each, dict) else each,
)
def test_each_setting_trains_as_the_reference(
    engine: str, model: str, train: dict[str, Any], make_job: MakeJob
) -> None:
    kind = train.get("lr_scheduler_type", "linear")
    settings = {"lr_scheduler_kwargs": KWARGS.get(kind)} | train
    assert problems(make_job(model, engine=engine, train=settings), model) == {}


@pytest.mark.parametrize("strategy", ["static", "unpadded"])
@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_gradient_checkpointing_computes_the_plain_function(
    engine: str, strategy: str, make_job: MakeJob
) -> None:
    job = make_job(engine=engine, padding=strategy, train={"gradient_checkpointing": True})
    assert verdict_of(run_trial(job.model_copy(update={"purpose": "prove"}), quietly)) == "exact"


def test_label_smoothing_in_bf16_is_proved(make_job: MakeJob) -> None:
    job = make_job(engine="loop", precision="bf16", train={"label_smoothing_factor": 0.1})
    assert problems(job) == {}


def never_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PreTrainedModel, "gradient_checkpointing_enable", lambda *_args, **_options: None)


def other_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks that torch's generator does not draw, so that no state of it brings them back."""

    def prepare(trial: Any, model: PreTrainedModel, _tokens: Any) -> None:
        replace_dropout(model, RandomBits(trial.seed))

    monkeypatch.setattr(loop_engine, "prepare", prepare)
    monkeypatch.setattr(
        "harness.training.variants.known_variants.VARIANTS",
        {"engine=loop": type("Broken", (), {"prepare": staticmethod(prepare), "loads_as": None})()},
    )


def divide_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_Trainer, "compute_loss")


def arguments_with(**changes: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """Let the trainer engine use other settings than the trial's."""

    def spoil(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            trainer_engine, "TrainingArguments", lambda **given: TrainingArguments(**(given | changes))
        )

    return spoil


@pytest.mark.parametrize(
    ("spoil", "engine", "train", "seen"),
    [
        (never_checkpoint, "loop", {"gradient_checkpointing": True}, "gradient checkpointing"),
        (other_masks, "loop", {"gradient_checkpointing": True}, "dropout gradients"),
        (
            arguments_with(gradient_checkpointing=True),
            "trainer",
            {},
            "gradient checkpointing",
        ),
        (divide_twice, "trainer", {"label_smoothing_factor": 0.1}, "parameters"),
        (arguments_with(label_smoothing_factor=0.0), "trainer", {"label_smoothing_factor": 0.1}, "losses"),
        (arguments_with(label_smoothing_factor=0.2), "trainer", {}, "losses"),
        (arguments_with(optim_args="momentum=0.9"), "trainer", {"optim": "sgd"}, "parameters"),
        (arguments_with(optim_args="eps=1e-3"), "trainer", {"optim": "adagrad"}, "parameters"),
        (arguments_with(optim_args="alpha=0.9"), "trainer", {"optim": "rmsprop"}, "parameters"),
        (arguments_with(weight_decay=0.0), "trainer", {"optim": "adafactor"}, "parameters"),
        (
            arguments_with(lr_scheduler_kwargs={}),
            "trainer",
            {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": SchedulerKwargs(power=2.0)},
            "learning rates",
        ),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_a_broken_setting_is_caught(
    spoil: Callable[[pytest.MonkeyPatch], None],
    engine: str,
    train: dict[str, Any],
    seen: str,
    make_job: MakeJob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch)
    found = problems(make_job(engine=engine, train=train))
    assert any(name.startswith((seen, "training")) for name in found), found


@given(
    kind=st.sampled_from(names_of_values(AXES["train.lr_scheduler_type"])),
    warmup=st.one_of(st.integers(1, 20).map(float), st.floats(0, 0.9)),
    steps=st.integers(2, 60),
    data=st.data(),
)
def test_the_factor_is_that_of_transformers_at_every_step(
    kind: SchedulerType, warmup: float, steps: int, data: st.DataObject
) -> None:
    shapes = st.sampled_from(["linear", "cosine", "1-sqrt"])
    options: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "cosine": {"num_cycles": st.sampled_from([0.5, 0.75])},
        "cosine_with_restarts": {"num_cycles": st.sampled_from([1.0, 3.0])},
        "polynomial": {"power": st.sampled_from([1.0, 2.0]), "lr_end": st.just(1e-4)},
        "inverse_sqrt": {"timescale": st.integers(1, 40)},
        "cosine_with_min_lr": {"min_lr": st.just(1e-4)},
        "cosine_warmup_with_min_lr": {
            "min_lr_rate": st.just(0.2),
            "warmup_lr_rate": st.sampled_from([None, 0.1]),
        },
        "warmup_stable_decay": {
            "num_decay_steps": st.integers(0, 30),
            "num_stable_steps": st.sampled_from([None, 5]),
            "warmup_type": shapes,
            "decay_type": shapes,
            "min_lr_ratio": st.just(0.1),
        },
    }
    given_options = data.draw(st.fixed_dictionaries(options.get(kind, {})))
    if kind == "polynomial" and max(warmup, math.ceil(warmup * steps)) >= steps:
        # transformers divides by the steps after warm-up, of which there are none.
        warmup = 0.0
    train = Train(
        learning_rate=1e-3,
        lr_scheduler_type=kind,
        lr_scheduler_kwargs=SchedulerKwargs(**given_options),
        warmup_steps=warmup,
    )
    schedule = get_scheduler(
        kind,
        torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3),
        TrainingArguments(output_dir="unused", warmup_steps=warmup, use_cpu=True).get_warmup_steps(steps),
        steps,
        train.lr_scheduler_kwargs.given() if train.lr_scheduler_kwargs else None,
    )
    for step in range(steps):
        (rate,) = schedule.get_last_lr()
        assert schedule_factor(train, step, steps) == pytest.approx(rate / 1e-3, abs=1e-9)
        schedule.optimizer.step()
        schedule.step()


def test_workers_load_the_batches_and_change_none(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right = Collator.__call__

    def noting(self: Collator, rows: Any) -> dict[str, torch.Tensor]:
        with (tmp_path / "processes").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return right(self, rows)

    monkeypatch.setattr(Collator, "__call__", noting)
    losses = []
    for workers in (0, 2):
        job = make_job(engine="trainer", train={"max_steps": 8, "dataloader_num_workers": workers})
        losses.append([each.train_loss for each in run_trial(job, quietly).epochs])
        processes = set((tmp_path / "processes").read_text().split()) - {str(os.getpid())}
        assert len(processes) == workers
    assert losses[0] == losses[1]


def test_an_optimizer_that_the_loop_does_not_have_fails_with_what_to_do(make_job: MakeJob) -> None:
    with pytest.raises(TrialStoppedError, match="AdamW alone, not sgd") as caught:
        run_trial(make_job(engine="loop", train={"optim": "sgd"}), quietly)
    assert (caught.value.status, caught.value.hint) == ("failed", "use engine: trainer")


def test_a_model_without_checkpointing_is_unavailable(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PreTrainedModel, "supports_gradient_checkpointing", False)
    monkeypatch.setattr(
        "transformers.models.bert.modeling_bert.BertPreTrainedModel.supports_gradient_checkpointing", False
    )
    with pytest.raises(TrialStoppedError, match="bert has no gradient checkpointing") as caught:
        run_trial(make_job(train={"gradient_checkpointing": True}), quietly)
    assert caught.value.status == "unavailable"


def test_tf32_is_unavailable_on_the_cpu(make_job: MakeJob) -> None:
    with pytest.raises(
        TrialStoppedError, match="tf32 is a format of CUDA devices, and cpu is none"
    ) as caught:
        run_trial(make_job(precision="tf32"), quietly)
    assert (caught.value.status, caught.value.hint) == ("unavailable", "use precision: fp32 or bf16")


@pytest.mark.parametrize(("capability", "usable"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_tf32_needs_ampere(
    capability: tuple[int, int], *, usable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "available_devices", lambda: ["cuda:0"])
    monkeypatch.setattr(devices, "_only", lambda device: device)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    try:
        if usable:
            open_device("cuda:0", "tf32")
            assert precision_of_products() == ("tf32", "ieee")
            # Inductor asks in this way before it compares kernels.
            assert torch.get_float32_matmul_precision() == "high"
            assert torch.backends.cudnn.allow_tf32
        else:
            with pytest.raises(TrialStoppedError, match=r"compute capability is 7\.5, and tf32 needs 8\.0"):
                open_device("cuda:0", "tf32")
    finally:
        use_products("fp32")
    assert precision_of_products() == ("ieee", "ieee")
    # Of convolutions, which torch would let use it by itself.
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(("asked", "running"), [("tf32", "fp32"), ("fp32", "tf32")])
def test_products_in_another_format_than_asked_for_are_caught(asked: Precision, running: Precision) -> None:
    def found() -> TrainingCheck:
        return check_dtypes(asked, Seen())

    try:
        use_products(asked)
        assert "products" not in found().found
        use_products(running)
        assert "products of fp32 use" in found().found
    finally:
        use_products("fp32")


def test_a_polynomial_schedule_without_a_step_after_warm_up_is_refused(make_job: MakeJob) -> None:
    train = {"lr_scheduler_type": "polynomial", "warmup_steps": 0.75, "max_steps": 2}
    with pytest.raises(TrialStoppedError, match="2 of 2 steps are warm-up"):
        run_trial(make_job(train=train), quietly)
