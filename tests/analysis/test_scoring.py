from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from harness.analysis.stats.scoring import SCORINGS, chosen, cross_entropies, highest, scores, totals

TWO = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40)
FOUR = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)
Pairs = list[tuple[int, int]]


def _score(metric: str, pairs: Pairs) -> float:
    labels, predicted = (np.array(each) for each in zip(*pairs, strict=True))
    return float(scores(metric, labels, predicted[None])[0])


def _f1(pairs: Pairs, positive: int) -> float | None:
    hits = sum(pair == (positive, positive) for pair in pairs)
    involved = sum((label == positive) + (guess == positive) for label, guess in pairs)
    return None if involved == 0 else 2 * hits / involved


@given(TWO)
def test_binary_scores_equal_their_definitions(pairs: Pairs) -> None:
    assert _score("eval_accuracy", pairs) == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert _score("eval_f1", pairs) == pytest.approx(_f1(pairs, 1) or 0.0)
    labels, guesses = zip(*pairs, strict=True)
    expected = 0.0
    if len(set(labels)) > 1 and len(set(guesses)) > 1:
        expected = float(np.corrcoef(labels, guesses)[0, 1])
    assert _score("eval_mcc", pairs) == pytest.approx(expected, abs=1e-9)


@given(FOUR)
def test_the_macro_average_leaves_out_classes_that_nobody_mentions(pairs: Pairs) -> None:
    if max(max(pair) for pair in pairs) < 2:
        return
    each = [f1 for positive in range(4) if (f1 := _f1(pairs, positive)) is not None]
    assert _score("eval_f1", pairs) == pytest.approx(sum(each) / len(each))


@given(FOUR)
def test_the_multi_class_coefficient_equals_its_covariances(pairs: Pairs) -> None:
    labels, guesses = (np.eye(4)[list(each)] for each in zip(*pairs, strict=True))

    def covariance(left: np.ndarray, right: np.ndarray) -> float:
        return float(((left - left.mean(0)) * (right - right.mean(0))).mean(0).sum())

    spread = covariance(labels, labels) * covariance(guesses, guesses)
    expected = covariance(labels, guesses) / np.sqrt(spread) if spread > 1e-12 else 0.0
    if max(max(pair) for pair in pairs) >= 2:
        assert _score("eval_mcc", pairs) == pytest.approx(expected, abs=1e-9)


def test_cross_entropies_equal_scipy_s_and_survive_huge_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 3))
    labels = np.arange(20) % 3
    expected = -log_softmax(logits, axis=1)[np.arange(20), labels]
    assert cross_entropies(labels, logits) == pytest.approx(expected, rel=1e-6)
    assert np.isinf(cross_entropies(np.array([0]), np.array([[-1e300, 1e300]]))[0])


@given(TWO)
def test_scores_of_two_classes_follow_from_their_counts(pairs: Pairs) -> None:
    labels, predicted = (np.array(each) for each in zip(*pairs, strict=True))
    counts = SCORINGS["eval_mcc"].features(labels, predicted[None]).sum(axis=2)[:, :, None]
    for metric in ("eval_accuracy", "eval_f1", "eval_mcc"):
        scoring = SCORINGS[metric]
        assert scoring.of_counts is not None
        sums = scoring.features(labels, predicted[None]).sum(axis=2)[:, :, None]
        assert np.array_equal(scoring.of_counts(counts, labels.size), sums)


@given(
    st.integers(1, 4).flatmap(
        lambda classes: st.lists(st.tuples(*[st.floats(-1e300, 1e300)] * classes), min_size=1, max_size=20)
    )
)
def test_rows_of_two_numbers_are_reduced_to_the_same_bits(rows: list[tuple[float, ...]]) -> None:
    logits = np.array(rows)
    assert np.array_equal(highest(logits), logits.max(axis=1))
    assert np.array_equal(totals(logits), logits.sum(axis=1))
    assert np.array_equal(chosen(logits), logits.argmax(axis=1))


@pytest.mark.parametrize("metric", [name for name, scoring in SCORINGS.items() if scoring.resamples])
@pytest.mark.parametrize("classes", [2, 4])
def test_a_score_of_a_resample_is_that_of_the_rows_that_were_drawn(metric: str, classes: int) -> None:
    random = np.random.default_rng(classes)
    logits = random.normal(size=(60, 1 if metric in ("eval_pearson", "eval_mse") else classes))
    labels = random.integers(0, classes, 60).astype(np.float64 if logits.shape[1] == 1 else np.int64)
    scoring = SCORINGS[metric]
    column = chosen(logits) if scoring.of_logits is None else scoring.of_logits(labels, logits)
    features = scoring.features(labels, column[None])
    for _ in range(20):
        rows = random.integers(0, 60, 60)
        weights = np.bincount(rows, minlength=60).astype(np.float64)
        found = scoring.combine((features @ weights)[:, :, None], 60)[0, 0]
        due = float(scores(metric, labels[rows], column[rows][None])[0])
        assert found == pytest.approx(due, rel=1e-6, abs=1e-9)
        if metric == "eval_pearson":
            assert found == pytest.approx(np.corrcoef(labels[rows], logits[rows, 0])[0, 1], rel=1e-6)
