from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.naming import axes, labels, shared_axes, short_names, varying_axes
from harness.model.arguments import Train
from harness.model.tasks import Task
from harness.model.trial import Trial
from harness.model.values import Padding

DYNAMIC = Trial(checkpoint="bert-base-uncased", padding=Padding(strategy="dynamic"), device="cpu")


def test_a_label_holds_only_what_varies() -> None:
    static = DYNAMIC.model_copy(update={"padding": Padding(strategy="static", length=128)})
    assert list(labels([DYNAMIC, static]).values()) == ["dynamic", "static(length=128)"]


def test_seeds_share_a_label() -> None:
    assert len(labels([DYNAMIC, DYNAMIC.model_copy(update={"seed": 1})])) == 1


def test_a_single_variant_is_called_by_its_checkpoint_and_padding() -> None:
    assert list(labels([DYNAMIC]).values()) == ["bert-base-uncased dynamic"]


def test_values_that_do_not_explain_themselves_carry_their_name() -> None:
    other = DYNAMIC.model_copy(
        update={
            "train": Train(learning_rate=3e-5),
            "token_type_ids": "drop",
            "precision": "bf16",
            "task": Task(max_length=64),
        }
    )
    assert list(labels([DYNAMIC, other]).values()) == [
        "max_length=None fp32 token_type_ids=auto learning rate 5e-05",
        "max_length=64 bf16 token_type_ids=drop learning rate 3e-05",
    ]


def test_auto_carries_the_name_of_its_axis() -> None:
    eager = DYNAMIC.model_copy(update={"attention": "eager"})
    assert list(labels([DYNAMIC, eager]).values()) == ["attention=auto", "eager"]


@pytest.mark.parametrize(
    ("checkpoints", "shown"),
    [
        (["~/models/tuned"], ["tuned"]),
        (["/data/a/best/", "./b/best", "/data/tiny"], ["a/best", "b/best", "tiny"]),
        (["./minilm", "minilm"], ["./minilm", "minilm"]),
        (["../a/x", "a/x", "owner/name"], ["../a/x", "a/x", "owner/name"]),
        (["/m", "/x/m"], ["/m", "x/m"]),
    ],
)
def test_a_path_is_shown_by_as_many_of_its_last_parts_as_tell_it_apart(
    checkpoints: list[str], shown: list[str]
) -> None:
    trials = [DYNAMIC.model_copy(update={"checkpoint": name}) for name in checkpoints]
    suffix = " dynamic" if len(trials) == 1 else ""
    assert list(labels(trials).values()) == [f"{name}{suffix}" for name in shown]
    assert [trial.checkpoint for trial in trials] == checkpoints
    assert axes(trials[0])["checkpoint"] == checkpoints[0]
    assert shared_axes(trials[:1])["checkpoint"] == short_names(checkpoints[:1])[checkpoints[0]]


_PART = st.sampled_from(["a", "b", "~", "..", "best"])
_NAME = st.builds(
    lambda start, parts: start + "/".join(parts),
    st.sampled_from(["", "/", "./", "~/"]),
    st.lists(_PART, min_size=1, max_size=4),
)


@given(st.lists(_NAME, unique=True, max_size=6))
def test_short_names_tell_all_checkpoints_apart(names: list[str]) -> None:
    shown = short_names(names)
    assert len(set(shown.values())) == len(names)
    assert all(name.endswith(short) for name, short in shown.items())


def test_whatever_makes_a_variant_appears_among_the_axes() -> None:
    changes: list[dict[str, object]] = [
        {"checkpoint": "x"},
        {"revision": "abc"},
        {"task": Task(label="other")},
        {"task": Task(text=("a",))},
        {"padding": Padding(strategy="dynamic", multiple_of=8)},
        {"device": "cuda:0"},
        {"attention": "eager"},
        {"train": Train(weight_decay=0.1)},
    ]
    for change in changes:
        changed = DYNAMIC.model_copy(update=change)
        assert len(varying_axes([axes(DYNAMIC), axes(changed)])) == 1
        assert len(set(labels([DYNAMIC, changed]).values())) == 2
