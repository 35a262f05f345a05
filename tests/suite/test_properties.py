"""What holds for any text, any order of keys and any change of a trial."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InvalidInputError
from harness.model.arguments import Train
from harness.model.frozen import Frozen
from harness.model.suite import Suite
from harness.model.tasks import Limit, Task
from harness.model.trial import Trial
from harness.model.values import Padding
from harness.suite.matrix import expand
from harness.suite.suite_file import parse_suite
from tests.suite.suite_texts import SMALL

PIECES = st.sampled_from(
    [
        "name", "task", "matrix", "train", "gates", "include", "exclude", "reference", "max_trials", "x",
        "checkpoint", "padding", "static", "seed", "learning_rate", "5e-5", "010", "~", "[", "]", "{", "}",
        ": ", ":", "- ", ", ", "\n", "\n  ", "\t", "'", '"', "#", "&a ", "*a", "!!str ", "!", "|", ">", "? ",
        "---\n", "...", "%", "\\",
        "\\x", "<<", "@", "`", "\0", "\x1b", "\u202e", "\ud800", "\u2028", "\x85", "1", "-1", "true", ".nan",
    ]
)  # fmt: skip
KEYS = st.sampled_from(
    ["name", "task", "matrix", "train", "checkpoint", "seed", "padding", "max_steps", "<<", ""]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def read_or_refused(text: bytes | str, *overrides: str) -> None:
    """Anything but a suite and a refusal in printable lines fails the test."""
    said = ""
    try:
        parse_suite(text, "suite.yaml", overrides)
    except InvalidInputError as error:
        said = error.message
    assert all(line.isprintable() for line in said.split("\n"))


@given(st.text() | st.lists(PIECES, max_size=40).map("".join))
def test_any_text_is_a_suite_or_refused(text: str) -> None:
    read_or_refused(text)


@given(st.binary() | st.text().map(lambda text: text.encode("utf-16", "surrogatepass")))
def test_any_bytes_are_a_suite_or_refused(content: bytes) -> None:
    read_or_refused(content)


@given(st.dictionaries(st.sampled_from([*Suite.model_fields]), JSON, max_size=6))
def test_any_values_under_the_right_keys_are_a_suite_or_refused(values: dict[str, Any]) -> None:
    read_or_refused(json.dumps(values))


@given(st.lists(PIECES, max_size=20).map("".join), st.text() | st.lists(PIECES, max_size=10).map("".join))
def test_any_override_is_applied_or_refused(key: str, value: str) -> None:
    read_or_refused(SMALL, f"{key}={value}", f"matrix.padding={value}", f"task={value}", value)


AXES: dict[str, list[Any]] = {
    "checkpoint": ["a", "b"],
    "padding": ["static", {"strategy": "dynamic", "multiple_of": 8}],
    "seed": [0, 1],
    "train.learning_rate": [1e-5, 2e-5],
    "precision": ["fp32", "bf16"],
}


@given(st.permutations([*AXES]), st.permutations(["name", "task", "matrix", "train"]), st.randoms())
def test_another_order_of_keys_and_values_gives_the_same_trials(
    axes: list[str], keys: list[str], random: Any
) -> None:
    def ids(matrix: dict[str, list[Any]], order: list[str]) -> set[str]:
        whole = {"name": "x", "task": "glue/mrpc", "matrix": matrix, "train": {"weight_decay": 0.01}}
        suite = parse_suite(json.dumps({key: whole[key] for key in order}), "suite.yaml")
        return {trial.id for trial in expand(suite, ("cpu",))}

    shuffled = {axis: random.sample(AXES[axis], len(AXES[axis])) for axis in axes}
    assert ids(shuffled, keys) == ids(AXES, ["name", "task", "matrix", "train"])
    assert len(ids(AXES, keys)) == 32


TRIAL = Trial(checkpoint="a", padding=Padding(strategy="static", length=64), device="cpu")
CHANGES: dict[str, list[dict[str, Any]]] = {
    "trial": [
        {"checkpoint": "b"}, {"revision": "b"}, {"device": "cuda:0"}, {"precision": "bf16"},
        {"compile": {"mode": "default"}},
        {"compile": {"mode": "reduce-overhead"}}, {"compile": {"mode": "default", "dynamic": True}},
        {"compile": {"mode": "default", "dynamic": False}},
        {"engine": "loop"}, {"attention": "eager"}, {"attention_backend": "math"},
        {"attention_kernel": "a/b"}, {"attention_revision": "c"}, {"token_type_ids": "drop"}, {"seed": 1},
        {"last_layer": "cls"}, {"cuda_graphs": True}, {"world_size": 2},
        {"adapter": {"kind": "lora"}}, {"adapter": {"kind": "lora", "r": 4}},
        {"tokenization": {"method": "map"}}, {"tokenization": {"method": "map_batched"}},
        {"tokenization": {"method": "map", "num_proc": 2}}, {"tokenizer": "slow"},
        {"tokenization": {"method": "map_batched", "batch_size": 10}},
    ],
    "padding": [{"strategy": "dynamic"}, {"length": 65}, {"multiple_of": 8},
                {"strategy": "group_by_length"}, {"strategy": "batch_rebalance"}],
    "task": [
        {"kind": "regression"},
        {"dataset": "b"}, {"config": None}, {"revision": "b"}, {"text": ("b",)}, {"label": "b"},
        {"train_split": "b"}, {"eval_split": "b"}, {"eval_split": ("b", "c")}, {"eval_split": ("c", "b")},
        {"max_length": 64},
        {"limit": {"train": 8}}, {"limit": {"eval": 8}}, {"limit": {"train": 8, "eval": 8}},
    ],
    "train": [
        {"num_train_epochs": 1}, {"max_steps": 1}, {"per_device_train_batch_size": 1},
        {"per_device_eval_batch_size": 1}, {"gradient_accumulation_steps": 2}, {"learning_rate": 1e-5},
        {"weight_decay": 0.1}, {"adam_beta1": 0.5}, {"adam_beta2": 0.5}, {"adam_epsilon": 0.1},
        {"max_grad_norm": 0.0}, {"lr_scheduler_type": "cosine"}, {"warmup_steps": 1.0},
        {"optim": "adamw_torch"}, {"optim": "sgd"}, {"label_smoothing_factor": 0.1},
        {"gradient_checkpointing": True}, {"dataloader_num_workers": 1},
        {"lr_scheduler_kwargs": {"num_cycles": 2.0}}, {"lr_scheduler_kwargs": {"num_cycles": 3.0}},
    ],
}  # fmt: skip


def changed(part: str, change: dict[str, Any]) -> Trial:
    fields = TRIAL.model_dump()
    (fields if part == "trial" else fields[part]).update(change)
    return Trial.model_validate(fields)


def test_any_changed_field_changes_the_id() -> None:
    trials = [TRIAL, *(changed(part, change) for part, changes in CHANGES.items() for change in changes)]
    assert len({trial.id for trial in trials}) == len(trials)
    assert len({trial.variant_id for trial in trials}) == len(trials) - 1  # all but the one with another seed


def test_every_field_of_a_trial_is_among_the_changes() -> None:
    single = {"padding", "task", "train"}
    assert {key for change in CHANGES["trial"] for key in change} == set(Trial.model_fields) - single
    models: dict[str, type[Frozen]] = {"padding": Padding, "task": Task, "train": Train}
    for part, model in models.items():
        names = {key for change in CHANGES[part] for key in change}
        assert names == set(model.model_fields) - {"data_dir", "max_classes"}


@given(st.integers(2, 1_000_000))
def test_how_many_classes_are_accepted_does_not_change_the_id(most: int) -> None:
    assert changed("task", {"max_classes": most}).id == TRIAL.id


def test_a_task_without_a_limit_has_the_identity_from_before_there_were_limits() -> None:
    assert "limit" not in TRIAL.model_dump_json()
    assert "eval" not in Limit(train=8).model_dump()


@given(st.text(min_size=1))
def test_where_the_data_lies_does_not_change_the_id(folder: str) -> None:
    assert changed("task", {"data_dir": folder}).id == TRIAL.id
