"""Accuracy by label and by length, counted from stored logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.analysis.breakdown import parts_of
from harness.model.arrays import Logits
from harness.model.quality import Predictions
from harness.model.results import TrialResult
from harness.output.builders.report import report_document
from harness.output.builders.report_parts.accuracy_tables import breakdown_tables
from harness.output.formats.known_formats import render
from tests.factories import make_predictions, make_report, make_result, make_trial


def with_lengths(seed: int, lengths: tuple[int, ...]) -> TrialResult:
    kept = make_predictions(seed).model_copy(update={"lengths": lengths})
    return make_result(make_trial(seed=seed), predictions=kept)


@given(st.lists(st.integers(1, 30), min_size=40, max_size=40))
def test_each_part_has_the_share_of_its_examples(lengths: list[int]) -> None:
    results = [with_lengths(seed, tuple(lengths)) for seed in (0, 1)]
    parts = parts_of(results)
    labels = [part for part in parts if part.lengths is None]
    quarters = [part for part in parts if part.lengths is not None]
    assert [part.name for part in labels] == ["not_equivalent", "equivalent"]
    assert sum(part.examples for part in labels) == sum(part.examples for part in quarters) == 40
    edges = np.quantile(lengths, [0.25, 0.5, 0.75])
    for part in quarters:
        low, high = part.lengths or (0, 0)
        inside = [at for at, length in enumerate(lengths) if low <= length <= high]
        assert len(inside) == part.examples
        assert len({sum(length > edge for edge in edges) for length in (low, high)}) == 1
        shares = []
        for result in results:
            assert result.predictions is not None
            rows, due = result.predictions.logits, result.predictions.labels
            shares.append(np.mean([(rows[at][1] > rows[at][0]) == (due[at] == 1) for at in inside]))
        assert part.accuracy == pytest.approx(np.mean(shares))
    whole = np.mean([result.value("eval_accuracy") or 0.0 for result in results])
    assert sum(part.accuracy * part.examples for part in labels) / 40 == pytest.approx(whole)


def test_a_report_without_lengths_has_labels_alone_and_one_without_predictions_nothing() -> None:
    result = make_result()
    assert [part.name for part in parts_of([result])] == ["not_equivalent", "equivalent"]
    assert parts_of([result.model_copy(update={"predictions": None})]) == ()
    assert parts_of([make_result(status="oom")]) == ()


def test_a_report_shows_them_for_every_variant() -> None:
    page = render(
        report_document(make_report([with_lengths(seed, tuple(range(1, 41))) for seed in (0, 1)])), "markdown"
    )
    assert "Accuracy by label and length" in page
    assert "longest quarter" in page
    assert "examples: not_equivalent 14, equivalent 26, shortest quarter 10 (1 to 10 tokens)" in page


def test_lengths_belong_to_the_examples() -> None:
    fields: dict[str, Any] = {
        "example_ids": (0, 1),
        "labels": (0, 1),
        "logits": Logits([(0.0, 1.0), (1.0, 0.0)]),
    }
    assert "lengths" not in Predictions(**fields).model_dump()
    for lengths in ((3,), (0, 4)):
        with pytest.raises(ValidationError, match="lengths of 2 examples"):
            Predictions(**fields, lengths=lengths)


def test_a_table_of_many_labels_has_the_first_and_tells_how_many_there_are() -> None:
    classes, examples = 10, 40
    labels = tuple(at % classes for at in range(examples))
    kept = Predictions(
        example_ids=tuple(range(examples)),
        labels=labels,
        logits=Logits([[float(label == at) for at in range(classes)] for label in labels]),
    )
    result = make_result(predictions=make_predictions())
    assert result.data is not None
    data = result.data.model_copy(update={"labels": tuple(f"kind {at}" for at in range(classes))})
    many = result.model_copy(update={"predictions": kept, "data": data})
    (table,) = breakdown_tables(make_report([many]))
    assert [column.title for column in table.columns] == ["variant", *(f"kind {at}" for at in range(8))]
    assert table.notes[-1] == "the first 8 of 10 labels"
