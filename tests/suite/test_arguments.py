"""Keys and values of TrainingArguments: complete, and refused apart from typing mistakes."""

from __future__ import annotations

import pytest

from harness.errors import InvalidInputError
from harness.model.arguments import UNSUPPORTED_KEYS, UNSUPPORTED_VALUES, Train
from harness.model.axis import Axis, names_of_values
from harness.model.trial import AXES, Trial
from harness.suite.matrix import expand
from harness.suite.names import known_paths
from harness.suite.suite_file import parse_suite
from tests.suite.suite_texts import refusal, refusal_with

MATRIX = "name: x\nmatrix: {checkpoint: [a], engine: [ENGINE]}\n"


@pytest.mark.heavy
def test_every_key_of_training_arguments_is_known() -> None:
    from dataclasses import fields  # noqa: PLC0415 - with transformers

    from transformers import TrainingArguments  # noqa: PLC0415 - heavy

    names = {field.name for field in fields(TrainingArguments)}
    assert names - set(Train.model_fields) == set(UNSUPPORTED_KEYS)
    assert set(Train.model_fields) <= names


@pytest.mark.heavy
def test_every_optimizer_and_schedule_of_transformers_is_known() -> None:
    from transformers.trainer_utils import SchedulerType  # noqa: PLC0415 - heavy
    from transformers.training_args import OptimizerNames  # noqa: PLC0415 - heavy

    for key, names in (("optim", OptimizerNames), ("lr_scheduler_type", SchedulerType)):
        offered = set(names_of_values(axis_of(key)))
        assert offered | set(UNSUPPORTED_VALUES[key]) == {name.value for name in names}
        assert not offered & set(UNSUPPORTED_VALUES[key])


def axis_of(key: str) -> Axis:
    return AXES[f"train.{key}"]


@pytest.mark.parametrize(("key", "reason"), UNSUPPORTED_KEYS.items())
def test_a_key_that_is_not_supported_is_told_apart_from_a_typing_mistake(key: str, reason: str) -> None:
    found = refusal_with(f"train: {{{key}: 1}}")
    assert found.startswith(f"suite.yaml:3:9: '{key}' of transformers.TrainingArguments is not supported: ")
    assert reason in found
    near = reason.partition("the nearest supported key is ")[2]
    assert not near or near in known_paths()


def test_it_is_refused_as_an_override_and_as_an_axis_too() -> None:
    what = "'fsdp' of transformers.TrainingArguments is not supported: a trial trains on one device"
    assert what in refusal(MATRIX.replace("ENGINE", "loop"), ["train.fsdp=x"])
    assert what in refusal(MATRIX.replace("ENGINE", "loop"), ["matrix.train.fsdp=[x]"])
    assert what in refusal("name: x\nmatrix: {checkpoint: [a], train.fsdp: [x]}\n")


@pytest.mark.parametrize(
    ("rest", "what"),
    [
        ("train: {sav_steps: 8}", "unknown key 'sav_steps' (did you mean max_steps?)"),
        (
            "train: {lr_scheduler_kwargs: {num_cycle: 1}}",
            "unknown key 'num_cycle' (did you mean num_c",
        ),
        ("train: {optim: sdg}", "found the text 'sdg' (did you mean sgd?)"),
        ("train: {optim: lion_8bit}", "optim lion_8bit is not supported: it needs the package bitsandbytes"),
        ("train: {lr_scheduler_type: greedy}", "lr_scheduler_type greedy is not supported: it follows the"),
        ("train: {label_smoothing_factor: 1}", "label_smoothing_factor must be a finite number, at least 0"),
    ],
)
def test_mistakes_and_unsupported_values(rest: str, what: str) -> None:
    assert what in refusal_with(rest)


@pytest.mark.parametrize(
    ("train", "what"),
    [
        ("lr_scheduler_type: warmup_stable_decay", "warmup_stable_decay needs num_decay_steps in lr_sched"),
        ("lr_scheduler_type: cosine_with_min_lr", "cosine_with_min_lr needs min_lr or min_lr_rate in lr"),
        (
            "lr_scheduler_type: cosine_with_min_lr, lr_scheduler_kwargs: {min_lr: 1e-6, min_lr_rate: 0.1}",
            "needs one of min_lr or min_lr_rate",
        ),
        (
            "lr_scheduler_kwargs: {num_cycles: 2}",
            "num_cycles has no meaning for lr_scheduler_type linear: it takes none",
        ),
        (
            "lr_scheduler_type: cosine_with_restarts, lr_scheduler_kwargs: {num_cycles: 1.5}",
            "takes whole num_cycles, not 1.5",
        ),
        ("lr_scheduler_type: polynomial, learning_rate: 1e-8", "lr_end 1e-07 is not below the learning rate"),
    ],
)  # fmt: skip
def test_settings_that_transformers_refuses_together_are_refused_in_the_plan(train: str, what: str) -> None:
    assert what in planned_refusal(f"train: {{{train}}}", "trainer")


@pytest.mark.parametrize("optim", ["adafactor", "adagrad", "rmsprop", "sgd"])
def test_the_loop_refuses_optimizers_but_adamw_in_the_plan(optim: str) -> None:
    found = planned_refusal(f"train: {{optim: {optim}}}", "loop")
    assert f"engine loop with train.optim {optim}: the loop engine serves AdamW alone" in found
    assert [trial.train.optim for trial in planned(f"train: {{optim: {optim}}}", "trainer")] == [optim]


def test_no_number_of_steps_is_refused() -> None:
    found = planned_refusal("train: {max_steps: 0}", "trainer")
    assert found.startswith("suite x: max_steps 0 is no number of steps: write -1")


def test_the_loop_refuses_workers_and_a_cls_layer_refuses_checkpointing() -> None:
    assert "no data loader" in planned_refusal("train: {dataloader_num_workers: 2}", "loop")
    both = "train: {gradient_checkpointing: true}\ninclude: [{last_layer: cls}]"
    assert "last_layer cls with train.gradient_checkpointing true" in planned_refusal(both, "loop")


def test_options_of_a_schedule_are_an_axis_too() -> None:
    text = (
        "name: x\nmatrix: {checkpoint: [a], train.lr_scheduler_kwargs: [{num_cycles: 1}, {num_cycles: 2}]}\n"
    )
    suite = parse_suite(text + "train: {lr_scheduler_type: cosine}", "suite.yaml")
    assert [str(trial.train.lr_scheduler_kwargs) for trial in expand(suite, ["cpu"])] == [
        "num_cycles=1",
        "num_cycles=2",
    ]
    assert type(suite).model_validate_json(suite.model_dump_json()) == suite


def test_new_settings_at_their_defaults_change_no_dump() -> None:
    later = {
        "lr_scheduler_kwargs",
        "label_smoothing_factor",
        "gradient_checkpointing",
        "dataloader_num_workers",
    }
    assert Train().model_dump().keys() == Train.model_fields.keys() - later


def planned(rest: str, engine: str) -> tuple[Trial, ...]:
    return expand(parse_suite(MATRIX.replace("ENGINE", engine) + rest, "suite.yaml"), ["cpu"])


def planned_refusal(rest: str, engine: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        planned(rest, engine)
    return str(caught.value)
