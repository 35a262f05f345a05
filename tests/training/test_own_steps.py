"""Single steps of a trial's own training: those of both engines pass, and one that differs ends the trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.model.job import TrialStoppedError
from harness.model.values import Adapter, Engine
from harness.training.engines import loop as loop_engine
from harness.training.proofs.own_steps import StepSamples
from harness.training.run_trial import run_trial
from tests.training.conftest import MakeJob, quietly

pytestmark = pytest.mark.heavy

TRAIN: dict[str, Any] = {
    "num_train_epochs": 2,
    "weight_decay": 0.02,
    "max_grad_norm": 0.5,
    "warmup_steps": 0.3,
    "adam_beta2": 0.98,
}


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"train": TRAIN | {"gradient_accumulation_steps": 3}},
        {"train": TRAIN | {"optim": "adamw_torch", "adam_beta1": 0.0, "max_grad_norm": 0.0}},
        {"precision": "bf16", "padding": "unpadded", "train": TRAIN},
        {"adapter": Adapter(kind="lora", r=4), "train": TRAIN},
    ],
    ids=str,
)
@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_the_steps_of_both_engines_are_those_of_their_settings(
    engine: Engine, case: dict[str, Any], make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    check = StepSamples.check

    def counted(samples: StepSamples) -> None:
        looked.append(len(samples._samples))
        check(samples)

    monkeypatch.setattr(StepSamples, "check", counted)
    assert run_trial(make_job(engine=engine, **case), quietly).status == "completed"
    assert looked[0] > 4


Loop = loop_engine._Loop
UPDATE, ZERO, OPTIMIZER = Loop._update, torch.optim.AdamW.zero_grad, loop_engine._optimizer


def without_decay(model: Any, settings: Any) -> Any:
    return OPTIMIZER(model, settings.model_copy(update={"weight_decay": 0.0}))


def with_another_beta(model: Any, settings: Any) -> Any:
    return OPTIMIZER(model, settings.model_copy(update={"adam_beta2": 0.999}))


def without_clipping(loop: Any) -> None:
    training = loop._training
    free = training.trial.train.model_copy(update={"max_grad_norm": 0.0})
    loop._training = replace(training, trial=training.trial.model_copy(update={"train": free}))
    UPDATE(loop)
    loop._training = training


def in_evaluation_mode(loop: Any) -> None:
    UPDATE(loop)
    loop._training.model.train(loop._step != 2)


def without_late_dropout(loop: Any) -> None:
    UPDATE(loop)
    for module in loop._training.model.modules():
        if isinstance(module, torch.nn.Dropout) and loop._step > 3:
            module.p = 0.0


def kept_gradients(optimizer: Any, set_to_none: bool = True) -> None:
    steps = max((int(state["step"]) for state in optimizer.state.values()), default=0)
    if steps < 5:
        ZERO(optimizer, set_to_none)


def fresh_averages(loop: Any) -> None:
    if loop._step == 6:
        loop._optimizer.state.clear()
    UPDATE(loop)


@pytest.mark.parametrize(
    ("place", "name", "spoilt", "expected"),
    [
        (loop_engine, "_optimizer", without_decay, "the optimizer decays by 0, due 0.02"),
        (loop_engine, "_optimizer", with_another_beta, "betas of the optimizer are (0.9, 0.999), due"),
        (Loop, "_update", without_clipping, "beyond max_grad_norm"),
        (Loop, "_update", in_evaluation_mode, "a pass after step 2 ran in evaluation mode"),
        (Loop, "_update", without_late_dropout, "passes all over the training dropped"),
        (Loop, "_update", fresh_averages, "step 6 of the training was step 1 of its optimizer"),
        (torch.optim.AdamW, "zero_grad", kept_gradients, "the gradients of step 5 were not dropped after it"),
    ],
)
def test_a_late_step_that_is_not_that_of_its_settings_ends_the_trial(
    place: Any, name: str, spoilt: Callable[..., Any], expected: str, make_job: MakeJob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(place, name, spoilt)
    with pytest.raises(TrialStoppedError, match="the training did not follow its settings") as failed:
        run_trial(make_job(engine="loop", train=TRAIN | {"max_grad_norm": 0.01}), quietly)
    assert expected in str(failed.value)


def test_a_step_that_is_not_that_of_its_gradients_ends_the_trial(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = StepSamples._before

    def moved(samples: StepSamples, optimizer: torch.optim.Optimizer, *rest: Any) -> None:
        before(samples, optimizer, *rest)
        if samples._step == 6:
            for each in optimizer.param_groups[0]["params"]:
                each.data.add_(1e-3)

    monkeypatch.setattr(StepSamples, "_before", moved)
    with pytest.raises(TrialStoppedError, match="step 7 of the optimizer changed parameters otherwise"):
        run_trial(make_job(engine="trainer", train=TRAIN), quietly)
