"""Lengths that a checkpoint cannot take are refused with the limit before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import InvalidInputError
from harness.model.assets import ResolvedCheckpoint
from harness.model.tasks import Task
from harness.model.trial import Trial
from harness.model.values import Padding
from harness.running.preflight import refuse_lengths
from tests.factories import make_trial
from tests.running.fakes import fake_suite, run_fake


def _refuse(folder: Path, *trials: Trial, stand_in: bool = False) -> None:
    found = ResolvedCheckpoint(
        requested="mine", name="other", source="local", path=str(folder), stand_in=stand_in
    )
    refuse_lengths(trials, {trial.id: found for trial in trials})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of 64 positions."""
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 64, "pad_token_id": 0}))
    return tmp_path


def test_what_fits_is_accepted(folder: Path) -> None:
    _refuse(folder, make_trial(), make_trial(task=Task(max_length=64)))
    _refuse(folder, make_trial(Padding(strategy="static", length=60, multiple_of=64)))
    _refuse(folder / "missing", make_trial(task=Task(max_length=4096)))


def test_a_checkpoint_that_was_not_found_is_no_matter_of_length() -> None:
    refuse_lengths([make_trial(task=Task(max_length=4096))], {})


@pytest.mark.parametrize(
    ("trial", "complaint"),
    [
        (
            make_trial(task=Task(max_length=65)),
            "task.max_length: 65 is more than the 64 tokens that mine takes",
        ),
        (
            make_trial(Padding(strategy="static", length=65)),
            "padding static(length=65): 65 tokens are more than the 64 that mine takes",
        ),
        (
            make_trial(Padding(strategy="static", length=64, multiple_of=48)),
            "padding static(length=64, multiple_of=48): 96 tokens are more than the 64 that mine takes",
        ),
    ],
)
def test_a_length_beyond_the_limit_is_refused_once_with_both_numbers(
    folder: Path, trial: Trial, complaint: str
) -> None:
    another_seed = trial.model_copy(update={"seed": 1})
    with pytest.raises(InvalidInputError) as caught:
        _refuse(folder, trial, another_seed)
    assert caught.value.message == complaint
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_a_tokenizer_that_cannot_pad_is_refused(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"pad_token": null}')
    with pytest.raises(InvalidInputError, match="mine: its tokenizer has no padding token"):
        _refuse(folder, make_trial())


def test_a_stand_in_is_named_with_its_limit(folder: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"that mine \(stand-in other\) takes"):
        _refuse(folder, make_trial(task=Task(max_length=65)), stand_in=True)


def test_a_run_with_such_a_length_ends_before_its_directory_is_made(tmp_path: Path) -> None:
    suite = fake_suite([0], task=Task(max_length=513))
    with pytest.raises(InvalidInputError, match="513 is more than the 512 tokens"):
        run_fake(suite, tmp_path / "reports")
    assert not (tmp_path / "reports").exists()
