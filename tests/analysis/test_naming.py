from __future__ import annotations

from harness.analysis.naming import axes, labels, varying_axes
from harness.trial import Padding, Task, Train, Trial

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
        "max_length=None fp32 token_type_ids=auto learning_rate=5e-05",
        "max_length=64 bf16 token_type_ids=drop learning_rate=3e-05",
    ]


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
