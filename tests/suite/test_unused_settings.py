"""A setting of training by which variants seem to differ and do not is an error."""

from __future__ import annotations

import pytest

from harness.suite.suite_file import parse_suite
from tests.suite.suite_texts import refusal, suite_with

_STEPS = "num_train_epochs has no effect with max_steps 5: the steps end the training"
_AXIS = "train.learning_rate has no effect: the matrix has the axis train.learning_rate"


def _suite(axes: str, train: str) -> str:
    return f"name: x\nmatrix: {{checkpoint: [a]{axes}}}\ntrain: {{{train}}}\n"


_EQUAL = ", so that its variants are one training"


@pytest.mark.parametrize(
    ("axes", "train", "found"),
    [
        (", train.num_train_epochs: [1, 3]", "max_steps: 5", f"2:27: {_STEPS}{_EQUAL}"),
        (
            ", train.num_train_epochs: [1, 3], train.max_steps: [5, 9]",
            "learning_rate: 1e-4",
            "2:27: num_train_epochs has no effect with max_steps 5 and 9: the steps end the training"
            + _EQUAL,
        ),
        (
            ", train.warmup_steps: [0, 10]",
            "lr_scheduler_type: constant",
            "2:27: warmup_steps has no effect with lr_scheduler_type constant: it warms nothing up" + _EQUAL,
        ),
        (
            ", train.adam_beta1: [0.9, 0.8], train.optim: [sgd, adafactor]",
            "max_steps: 5",
            "2:27: adam_beta1 has no effect with optim sgd and adafactor: it is a setting of AdamW" + _EQUAL,
        ),
    ],
)
def test_a_setting_without_effect_is_refused_with_its_place(axes: str, train: str, found: str) -> None:
    assert refusal(_suite(axes, train)) == f"suite.yaml:{found}"


@pytest.mark.parametrize(
    ("axes", "train", "override", "found"),
    [
        (", train.learning_rate: [1e-5]", "max_steps: 5", "train.learning_rate=3e-5", _AXIS),
        ("", "max_steps: 5", "matrix.train.num_train_epochs=[1, 9]", _STEPS + _EQUAL),
    ],
)
def test_an_override_that_changes_nothing_is_refused(
    axes: str, train: str, override: str, found: str
) -> None:
    assert refusal(_suite(axes, train), [override]) == f"-s {override}: {found}"


def test_an_override_that_makes_variants_equal_is_refused() -> None:
    text = _suite(", train.num_train_epochs: [1, 3]", "learning_rate: 1e-5")
    assert refusal(text, ["train.max_steps=5"]) == f"suite.yaml:2:27: {_STEPS}{_EQUAL}"


@pytest.mark.parametrize(
    ("train", "override"),
    [
        ("num_train_epochs: 3", "train.max_steps=5"),
        ("num_train_epochs: 3, max_steps: 5", "train.num_train_epochs=1"),
        ("learning_rate: 1e-4", "matrix.train.learning_rate=[1e-5, 2e-5]"),
        ("warmup_steps: 10", "train.lr_scheduler_type=constant"),
        ("max_steps: 5", "matrix.train.max_steps=[7]"),
        ("num_train_epochs: 3", "matrix.train.max_steps=[-1, 5]"),
    ],
)
def test_one_value_may_be_made_useless_by_another_setting(train: str, override: str) -> None:
    assert suite_with(f"train: {{{train}}}", [override]).name == "small"


def test_an_axis_may_stand_beside_the_value_of_the_file_that_it_replaces() -> None:
    text = _suite(", train.learning_rate: [1e-5, 2e-5]", "learning_rate: 1e-4")
    assert parse_suite(text, "suite.yaml").train.learning_rate == 1e-4


def test_one_trial_that_uses_a_setting_is_enough() -> None:
    suite = suite_with("train: {max_steps: 5}\ninclude: [{train.max_steps: -1, train.num_train_epochs: 2}]")
    assert suite.include == ({"train.max_steps": -1, "train.num_train_epochs": 2},)
