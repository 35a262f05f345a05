"""Calibration error and Brier score of stored logits, against their definitions written out."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.comparison.comparing import compare
from harness.analysis.stats.scoring import BINS, SCORINGS, binned_gaps, scores, squared_distances
from harness.model.metrics import METRICS
from tests.factories import make_report, make_result, make_trial


@st.composite
def evaluations(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    classes, rows = draw(st.integers(2, 5)), draw(st.integers(1, 40))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    logits = random.normal(scale=draw(st.sampled_from([0.01, 1.0, 30.0])), size=(rows, classes))
    return random.integers(0, classes, rows), logits.astype(np.float32).astype(np.float64)


def score(metric: str, labels: np.ndarray[Any, Any], logits: np.ndarray[Any, Any]) -> float:
    of_logits = SCORINGS[metric].of_logits
    assert of_logits is not None
    return float(scores(metric, labels, of_logits(labels, logits)[None])[0])


def softmax(row: np.ndarray[Any, Any]) -> list[float]:
    raised = [float(np.exp(value - max(row))) for value in row]
    return [value / sum(raised) for value in raised]


@given(evaluations())
def test_both_are_those_of_their_definitions(
    given: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
) -> None:
    labels, logits = given
    shares = [softmax(row) for row in logits]
    right = [int(np.argmax(row)) == label for row, label in zip(shares, labels, strict=True)]
    error = 0.0
    for at in range(BINS):
        inside = [
            place
            for place, row in enumerate(shares)
            if Fraction(at, BINS) < Fraction(max(row)) <= Fraction(at + 1, BINS)
        ]
        if inside:
            accuracy = sum(right[place] for place in inside) / len(inside)
            confidence = sum(max(shares[place]) for place in inside) / len(inside)
            error += len(inside) / len(labels) * abs(accuracy - confidence)
    assert score("eval_ece", labels, logits) == pytest.approx(error, abs=1e-6)
    onehot = np.eye(logits.shape[1])[labels]
    brier = float(((np.array(shares) - onehot) ** 2).sum(axis=1).mean()) / 2
    assert score("eval_brier", labels, logits) == pytest.approx(brier, abs=1e-6)
    for metric in ("eval_ece", "eval_brier"):
        assert METRICS[metric].admits(score(metric, labels, logits))


@given(evaluations())
def test_neither_depends_on_a_constant_added_to_logits(
    given: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
) -> None:
    labels, logits = given
    for metric in ("eval_ece", "eval_brier"):
        assert score(metric, labels, logits + 8) == pytest.approx(score(metric, labels, logits), abs=1e-5)


def test_a_sure_model_is_calibrated_if_it_is_right_and_not_if_it_is_wrong() -> None:
    sure = np.array([[50.0, -50.0], [-50.0, 50.0]])
    for metric in ("eval_ece", "eval_brier"):
        assert score(metric, np.array([0, 1]), sure) == pytest.approx(0, abs=1e-12)
        assert score(metric, np.array([1, 0]), sure) == pytest.approx(1)
        assert score(metric, np.array([0, 0]), sure) == pytest.approx(0.5)


def test_a_confidence_at_an_edge_is_in_the_bin_below() -> None:
    logits = np.zeros((1, 3))
    assert binned_gaps(np.array([0]), logits) == pytest.approx([4 * 4 + 1 / 3 - 1])


def test_of_two_classes_it_is_the_squared_error_of_a_probability() -> None:
    logits = np.log(np.array([[0.25, 0.75]]))
    assert squared_distances(np.array([1]), logits) == pytest.approx([0.0625])
    assert squared_distances(np.array([0]), logits) == pytest.approx([0.5625])


@pytest.mark.parametrize("metric", ["eval_ece", "eval_brier"])
def test_a_lower_value_is_better_in_a_comparison(metric: str) -> None:
    good, bad = (
        make_report(
            [make_result(make_trial(seed=seed), accuracy=accuracy, examples=400) for seed in range(5)],
            run=name,
        )
        for name, accuracy in (("good", 0.95), ("bad", 0.4))
    )
    (row,) = compare([good, bad], metrics=[metric]).rows
    assert row.verdict == "worse"
    assert row.effect is not None
    assert row.effect > 0
    (row,) = compare([bad, good], metrics=[metric]).rows
    assert row.verdict == "better"
