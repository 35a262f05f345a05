"""The check of records passes here, and names a mark, a score of a split or a loss that is another."""

from __future__ import annotations

from typing import Any

import pytest

from harness.model.observations import Observed
from harness.model.quality import Score
from harness.training.evaluation import score, score_splits
from harness.training.fitting import thinned
from harness.training.measuring.observing import TrainingWatch
from harness.training.proofs import records
from harness.training.proofs.records import check_records

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_records_are_those_of_their_tables(kind: Any) -> None:
    found = check_records(kind)
    assert found.passed, found.found


def of_the_last(logits: Any, labels: Any, splits: Any) -> Score:
    found = score_splits(logits, labels, splits)
    last = score(logits[-21:], labels[-21:])
    return found.model_copy(update={"degenerate": last.degenerate})


def of_one_split(logits: Any, labels: Any, splits: Any) -> Score:
    return score_splits(logits[::-1].copy(), labels[::-1].copy(), splits)


def never(outputs: Any, targets: Any) -> Score:
    return score(outputs, targets).model_copy(update={"degenerate": False})


class Halving(TrainingWatch):
    def end(self) -> Observed:
        found = super().end()
        return found.model_copy(update={"parameter_change": found.parameter_change / 2})


class AlwaysTraining(TrainingWatch):
    def end(self) -> Observed:
        return super().end().model_copy(update={"training_mode": (True,)})


class BlindToFrozen(TrainingWatch):
    def end(self) -> Observed:
        return super().end().model_copy(update={"moved_frozen": ()})


@pytest.mark.parametrize(
    ("kind", "name", "spoilt", "expected"),
    [
        (
            "classification",
            "score_splits",
            of_the_last,
            "predictions of one class in split 1 of 3 are marked",
        ),
        ("classification", "score_splits", of_one_split, "of split 1 is"),
        ("regression", "score", never, "a regression with constant outputs is marked otherwise"),
        (
            "regression",
            "thinned",
            lambda losses, most: losses[:most],
            "losses of 7 steps in at most 4 numbers",
        ),
        (
            "classification",
            "thinned",
            lambda losses, most: [each + 1.0 for each in thinned(losses, most)],
            "losses of 7 steps in at most 7 numbers",
        ),
        ("classification", "TrainingWatch", Halving, "a change of 0.353553 is noted as 0.176777"),
        ("regression", "TrainingWatch", AlwaysTraining, "module 1 of 4 in evaluation mode counts as"),
        ("classification", "TrainingWatch", BlindToFrozen, "() as changed though frozen"),
    ],
)
def test_a_record_that_is_another_is_named(
    kind: Any, name: str, spoilt: Any, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, name, spoilt)
    found = check_records(kind)
    assert not found.passed
    assert expected in found.found
