from __future__ import annotations

import pytest

from harness.model.suite import Suite
from harness.model.tasks import Task
from harness.model.values import ChosenCheckpoint, Padding
from tests.suite.suite_texts import SMALL, refusal_with, refusals, suite_with


def test_an_override_sets_a_key_and_leaves_the_others() -> None:
    suite = suite_with("train: {num_train_epochs: 5}", ["train.learning_rate=3e-5", "measure.warmup_steps=0"])
    assert (suite.train.learning_rate, suite.train.num_train_epochs) == (3e-5, 5)
    assert suite.measure.warmup_steps == 0


def test_the_roofline_can_be_switched_off_and_is_written_only_then() -> None:
    on, off = (suite_with("", overrides) for overrides in ([], ["measure.roofline=false"]))
    assert (on.measure.roofline, off.measure.roofline) == (True, False)
    # A plan and a report from before there was such a key are still the same, byte for byte.
    assert "roofline" not in on.model_dump_json()
    assert Suite.model_validate_json(off.model_dump_json()) == off


def test_an_override_replaces_or_adds_an_axis() -> None:
    suite = suite_with("", ["matrix.checkpoint=[minilm]", "matrix.precision=[bf16]", "matrix.seed=[0, 1]"])
    assert suite.matrix["checkpoint"] == (ChosenCheckpoint(name="minilm"),)
    assert suite.matrix["precision"] == ("bf16",)
    assert suite.matrix["seed"] == (0, 1)


def test_an_axis_of_training_arguments_keeps_its_dot() -> None:
    assert suite_with("", ["matrix.train.learning_rate=[1e-5, 2e-5]"]).matrix["train.learning_rate"] == (
        1e-5,
        2e-5,
    )


def test_a_whole_section_can_be_replaced() -> None:
    suite = suite_with(
        "train: {num_train_epochs: 5}", ["train={learning_rate: 1e-4}", "name=other", "gates=[]"]
    )
    assert (suite.name, suite.train.num_train_epochs, suite.train.learning_rate) == ("other", 3, 1e-4)


def test_a_key_of_a_task_in_short_form_can_be_set() -> None:
    assert suite_with("task: glue/mrpc", ["task.max_length=64"]).task == Task(max_length=64)
    assert suite_with("", ["task=glue/mrpc", "task.data_dir=/data"]).task == Task(data_dir="/data")
    assert suite_with("", ["task=glue/mrpc", "task.data_dir=null"]).task == Task()


def test_the_value_may_hold_an_equals_sign() -> None:
    assert suite_with("", ["task.label=a=b"]).task.label == "a=b"


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("a.b=1", "there is no key 'a.b' (one of: name, task, matrix,"),
        ("lr=1", "there is no key 'lr' (did you mean train.learning_rate?)"),
        ("train.lr=1", "there is no key 'train.lr' (did you mean train.learning_rate?)"),
        ("train.learning_rat=1", "there is no key 'train.learning_rat' (did you mean train.learning_rate?)"),
        ("matrix.model=[a]", "there is no key 'matrix.model' (did you mean matrix.checkpoint?)"),
        ("reference.f1=0.9", "there is no key 'reference.f1' (did you mean reference.eval_f1?)"),
        ("train.learning_rate", "the value is missing: write train.learning_rate=VALUE"),
        ("", "expected KEY=VALUE"),
        ("=3", "there is no key ''"),
        ("matrix.seed=0", "the axis seed must be a list; found the number 0 (a list of one is [value])"),
        ("matrix.seed=[0, 0]", "'0' again on the axis seed"),
        ("train.learning_rate=", "the value is empty: write train.learning_rate=VALUE, or"),
        ("task.data_dir=", "the value is empty: write task.data_dir=VALUE, or task.data_dir=null for none"),
        ("task.data_dir= ", "the value is empty"),
        ("train.learning_rate=null", "found nothing"),
        ("train.learning_rate=fast", "found the text 'fast'"),
        ("train={lr: 1}", "unknown key 'lr' (did you mean learning_rate?)"),
        ("name=010", "the number 010 has a leading zero"),
        ("train={max_steps: 1, max_steps: 2}", "the key 'max_steps' again; each key is allowed once"),
        ("measure.foo=1", "(one of: measure.warmup_steps, measure.threads, "),
        ("train.optim=!x y", "the tag"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_override_names_it_and_what_is_near(override: str, what: str) -> None:
    found = refusals(SMALL, [override])[0]
    assert found.startswith(f"-s {override}: ")
    assert what in found


def test_a_value_that_is_no_yaml_is_refused() -> None:
    assert refusals(SMALL, ["matrix.seed=[0"])[0].startswith("-s matrix.seed=[0: expected ',' or ']'")
    assert "a second document" in refusals(SMALL, ["name=a\n---\nb"])[0]


def test_a_key_below_what_is_no_mapping_is_refused() -> None:
    lines = refusals(f"{SMALL}measure: [1]", ["measure.warmup_steps=0"])
    assert (
        "-s measure.warmup_steps=0: measure is a list in the suite, so it has no key warmup_steps" in lines[1]
    )


def test_the_same_key_twice_is_refused() -> None:
    found = refusal_with("", ["name=a", "name=b"])
    assert found == "-s name=b: name is given twice; give it once"


def test_an_override_that_holds_control_characters_is_shown_escaped() -> None:
    assert refusal_with("", ["\x1b]0;x\x07=1"]).isprintable()
    assert refusal_with("", ["a\udcff=1"]).isprintable()


def test_a_rule_of_the_file_may_lose_its_effect_by_an_override_of_the_matrix() -> None:
    rest = "include: [{padding: static}]\nexclude: [{checkpoint: bert-base-uncased, padding: dynamic}]"
    overrides = ["matrix.checkpoint=[minilm]", "matrix.padding=[dynamic]"]
    assert suite_with(rest, overrides).exclude == (
        {"checkpoint": ChosenCheckpoint(name="bert-base-uncased"), "padding": Padding(strategy="dynamic")},
    )
