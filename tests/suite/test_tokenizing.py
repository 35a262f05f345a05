from __future__ import annotations

import pytest

from harness.model.trial import Trial
from harness.model.values import Padding, Tokenization
from harness.suite.matrix import expand
from harness.suite.suite_file import parse_suite
from tests.suite.suite_texts import refusal, refusals

SMALL = "name: small\nmatrix: {{checkpoint: [a], tokenization: [whole, map]{rest}\n"


def test_each_way_of_tokenising_becomes_a_trial_on_the_processor() -> None:
    ways = "[whole, map, {method: map_batched, num_proc: 2, batch_size: 100}]"
    text = f"name: x\nmatrix: {{checkpoint: [a], tokenization: {ways}, tokenizer: [fast, slow]}}"
    trials = expand(parse_suite(text, "x"), ("cuda:0", "cpu"))
    assert [(str(trial.tokenization), trial.tokenizer) for trial in trials] == [
        ("whole", "fast"),
        ("whole", "slow"),
        ("map", "fast"),
        ("map", "slow"),
        ("map_batched(num_proc=2, batch_size=100)", "fast"),
        ("map_batched(num_proc=2, batch_size=100)", "slow"),
    ]
    assert {trial.device for trial in trials} == {"cpu"}
    assert len({trial.id for trial in trials}) == 6
    assert trials[4].tokenization == Tokenization(method="map_batched", num_proc=2, batch_size=100)


def test_a_suite_that_trains_has_trials_without_tokenization() -> None:
    (trial,) = expand(parse_suite("name: x\nmatrix: {checkpoint: [a]}", "x"), ("cpu",))
    assert trial == Trial(checkpoint="a", padding=Padding(strategy="dynamic"), device="cpu")
    assert trial.tokenization is None
    assert not {"tokenization", "tokenizer"} & trial.model_dump().keys()


def test_include_and_exclude_choose_among_the_ways() -> None:
    rest = (
        ", tokenizer: [fast, slow]}\n"
        "exclude: [{tokenization: map, tokenizer: slow}]\n"
        "include: [{tokenization: {method: map, num_proc: 2}, tokenizer: fast}]"
    )
    trials = expand(parse_suite(SMALL.format(rest=rest), "x"), ("cpu",))
    assert [f"{trial.tokenization} {trial.tokenizer}" for trial in trials] == [
        "whole fast",
        "whole slow",
        "map fast",
        "map(num_proc=2) fast",
    ]


@pytest.mark.parametrize(
    ("rest", "place", "name"),
    [
        (", padding: [static]}", "suite.yaml:2:55", "padding"),
        (", device: [cpu]}", "suite.yaml:2:55", "device"),
        (", train.learning_rate: [1e-5]}", "suite.yaml:2:55", "train.learning_rate"),
        ("}\ninclude: [{tokenization: map_batched, precision: bf16}]", "suite.yaml:3:39", "precision"),
        ("}\nexclude: [{engine: trainer}]", "suite.yaml:3:12", "engine"),
        ("}\ntrain: {num_train_epochs: 1}", "suite.yaml:3:1", "train"),
    ],
)
def test_what_is_about_training_is_refused_beside_tokenization(rest: str, place: str, name: str) -> None:
    assert refusal(SMALL.format(rest=rest)) == (
        f"{place}: {name} has no effect with tokenization, which trains nothing "
        "(axes: checkpoint, task, tokenization, tokenizer, seed)"
    )


def test_everything_about_training_is_named_at_once() -> None:
    found = refusals(SMALL.format(rest=", padding: [static], precision: [bf16]}\ntrain: {max_steps: 1}"))
    assert [line.split()[1] for line in found] == ["padding", "precision", "train"]


def test_an_override_that_is_about_training_is_refused_too() -> None:
    found = refusal(SMALL.format(rest="}"), ["matrix.padding=[static]"])
    assert found.startswith("-s matrix.padding=[static]: padding has no effect with tokenization")


@pytest.mark.parametrize(
    "text",
    [
        "name: x\nmatrix: {checkpoint: [a], tokenizer: [slow]}",
        "name: x\nmatrix: {checkpoint: [a]}\ninclude: [{tokenizer: slow}]",
    ],
)
def test_a_tokenizer_is_chosen_only_where_tokenising_is_measured(text: str) -> None:
    assert "tokenizer needs the axis tokenization in matrix" in refusal(text)


def test_a_way_of_tokenising_has_its_axis_in_the_matrix() -> None:
    text = "name: x\nmatrix: {checkpoint: [a]}\ninclude: [{tokenization: whole}]"
    assert "suite.yaml:3:12: tokenization needs the axis tokenization in matrix" in refusal(text)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("{method: whole, num_proc: 2}", "num_proc belongs to map and map_batched, not to whole"),
        ("{method: map, batch_size: 10}", "batch_size belongs to map_batched alone, not to map"),
        ("{method: map, num_proc: 0}", "num_proc must be a whole number, at least 1"),
        ("{method: mapped}", "did you mean map?"),
        ("batched", "tokenization must be one of whole, map, map_batched"),
    ],
)
def test_a_way_that_does_not_exist_is_refused_with_what_does(value: str, what: str) -> None:
    assert what in refusal(f"name: x\nmatrix: {{checkpoint: [a], tokenization: [{value}]}}")
