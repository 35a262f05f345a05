"""Scores as sums over examples, so that one matrix product computes the scores of all resamples.

Each score maps examples to features and combines the sums of these. Conventions are those of scikit-learn,
which `evaluate` uses: an F1 without any positive is 0, a class that is neither present nor predicted is left
out of the macro average, an undefined Matthews coefficient is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Numbers = NDArray[np.number[Any]]
Counts = tuple[Floats, Floats, Floats]
"""True positives and predicted members of class 1 (P, R), and its actual members (R,)."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """The computation of a score from examples.

    `features` maps labels (N,) and columns (P, N) to (F, P, N); a column contains predicted classes, or what
    `of_logits` makes of labels (N,) and logits (N, C). `combine` maps their sums (F, P, R) and the number of
    examples to scores (P, R). The labels of a regression are numbers. `resamples` is whether the sums over a
    resample give its score.
    """

    features: Callable[[Numbers, Numbers], Floats]
    combine: Callable[[Floats, int], Floats]
    of_logits: Callable[[Numbers, Floats], Floats] | None = None
    resamples: bool = True
    of_counts: Callable[[Counts, int], Floats] | None = None


def _correct(labels: Numbers, predicted: Numbers) -> Floats:
    return np.equal(predicted, labels)[None].astype(np.float32)


def _correct_of_counts(counts: Counts, examples: int) -> Floats:
    hits, guessed, actual = counts
    return np.asarray(2 * hits + examples - guessed - actual)[None]


def _mean(sums: Floats, examples: int) -> Floats:
    return np.asarray(sums[0] / examples)


def _hits_and_involved(labels: Numbers, predicted: Numbers) -> Floats:
    """Return for each class its true positives, and its predicted plus its actual members."""
    guessed, actual = _members(labels, predicted)
    return np.concatenate([guessed & actual, guessed.astype(np.float32) + actual], dtype=np.float32)


def _involved_of_counts(counts: Counts, examples: int) -> Floats:  # noqa: ARG001 - the signature all share
    hits, guessed, actual = counts
    return np.stack([hits, guessed + actual], dtype=np.float64)


def _counts(labels: Numbers, predicted: Numbers) -> Floats:
    """Return true positives, predicted and actual members of each class, one class after another."""
    guessed, actual = _members(labels, predicted)
    features = np.stack([guessed & actual, guessed, np.broadcast_to(actual, guessed.shape)], axis=1)
    return features.reshape(-1, *predicted.shape).astype(np.float32)


def _members(labels: Numbers, predicted: Numbers) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the predicted (C, P, N) and the actual members (C, 1, N) of each class, of two class 1 only."""
    number = int(max(labels.max(), predicted.max())) + 1
    classes = np.arange(number) if number > 2 else np.ones(1, dtype=np.int64)
    return predicted == classes[:, None, None], labels == classes[:, None, None]


def _counts_themselves(counts: Counts, examples: int) -> Floats:  # noqa: ARG001 - the signature all share
    return np.stack(np.broadcast_arrays(*counts), dtype=np.float64)


def _f1(sums: Floats, examples: int) -> Floats:  # noqa: ARG001 - the signature all scores share
    hits, involved = np.split(sums, 2)
    each = 2 * hits / np.maximum(involved, 1)
    if len(each) == 1:
        return np.asarray(each[0])
    present = np.maximum((involved > 0).sum(axis=0), 1)
    return np.asarray(each.sum(axis=0) / present)


def _mcc(sums: Floats, examples: int) -> Floats:
    """Return the multi-class coefficient of Gorodkin (2004); for two classes, that of Matthews."""
    hits, guessed, actual = sums[0::3], sums[1::3], sums[2::3]
    if len(hits) == 1:
        # The counts of class 0 follow from those of class 1.
        hits = np.concatenate([hits, examples - guessed - actual + hits])
        guessed = np.concatenate([guessed, examples - guessed])
        actual = np.concatenate([actual, examples - actual])
    covariance = hits.sum(axis=0) * examples - (guessed * actual).sum(axis=0)
    spread = (examples**2 - (guessed**2).sum(axis=0)) * (examples**2 - (actual**2).sum(axis=0))
    return np.where(spread > 0, covariance / np.sqrt(np.maximum(spread, 1)), 0.0)


def _as_given(labels: Numbers, column: Numbers) -> Floats:  # noqa: ARG001 - the signature all scores share
    return column[None].astype(np.float64)


def _gaps_of_bins(labels: Numbers, column: Numbers) -> Floats:  # noqa: ARG001 - the signature all scores share
    """Return for each bin the gap of its examples and 0 for others, (bins, P, N): see `binned_gaps`."""
    bins = np.rint(column / _BIN_STEP)
    gaps = column - bins * _BIN_STEP
    spread = np.zeros((BINS, *column.shape))
    np.put_along_axis(spread, bins[None].astype(np.intp), gaps[None], axis=0)
    return spread


def _mean_gap(sums: Floats, examples: int) -> Floats:
    return np.asarray(np.abs(sums).sum(axis=0) / examples)


def highest(rows: Floats) -> Floats:
    """Return the largest number of each row: (N, C) to (N,)."""
    # numpy reduces rows of two numbers one at a time, ten times as slowly as their columns.
    return np.maximum(rows[:, 0], rows[:, 1]) if rows.shape[1] == 2 else np.asarray(rows.max(axis=1))


def totals(rows: Floats) -> Floats:
    """Return the sum of each row: (N, C) to (N,)."""
    return rows[:, 0] + rows[:, 1] if rows.shape[1] == 2 else np.asarray(rows.sum(axis=1))


def chosen(rows: Floats) -> NDArray[np.integer[Any]]:
    """Return the place of the largest number of each row, the first of equal ones: (N, C) to (N,)."""
    return (rows[:, 1] > rows[:, 0]).astype(np.intp) if rows.shape[1] == 2 else rows.argmax(axis=1)


def cross_entropies(labels: Numbers, logits: Floats) -> Floats:
    """Return the loss of each example in nats: labels (N,), logits (N, C), losses (N,).

    >>> cross_entropies(np.array([1]), np.array([[0.0, 0.0]])).round(4).tolist()
    [0.6931]
    """
    with np.errstate(over="ignore"):
        lowered = logits - highest(logits)[:, None]
        losses = np.log(totals(np.exp(lowered))) - lowered[np.arange(labels.size), labels.astype(np.intp)]
        # Resampling uses single precision: losses that overflow there are infinite here too.
        return np.asarray(losses.astype(np.float32), dtype=np.float64)


def squared_distances(labels: Numbers, logits: Floats) -> Floats:
    """Return half the squared distance between the probabilities of each example and its true class, (N,).

    For two classes it is the squared error of the probability of either (Brier 1950, halved).

    >>> squared_distances(np.array([1]), np.array([[0.0, 0.0]])).tolist()
    [0.25]
    """
    away = _probabilities(logits)
    away[np.arange(labels.size), labels.astype(np.intp)] -= 1
    return np.asarray(totals(away**2) / 2)


def binned_gaps(labels: Numbers, logits: Floats) -> Floats:
    """Return four times the bin of each example's confidence, plus confidence minus correctness, (N,).

    Bins are those of Guo et al. 2017 (arXiv:1706.04599, section 2): 15 of equal width, closed above. One
    number an example is what resampling takes; a gap is above -1 and at most 1, so that both parts follow.

    >>> binned_gaps(np.array([1]), np.array([[0.0, 0.0]])).tolist()
    [28.5]
    """
    probabilities = _probabilities(logits)
    confidence = highest(probabilities)
    bins = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1)
    return np.asarray(_BIN_STEP * bins + confidence - (chosen(logits) == labels))


def _probabilities(logits: Floats) -> Floats:
    with np.errstate(over="ignore"):
        raised = np.exp(np.asarray(logits, dtype=np.float64) - highest(logits)[:, None])
    return np.asarray(raised / totals(raised)[:, None])


def outputs(labels: Numbers, logits: Floats) -> Floats:  # noqa: ARG001 - the signature of `of_logits`
    """Return the output of each example of a regression, (N,): logits (N, 1)."""
    return np.asarray(logits[:, 0], dtype=np.float64)


def squared_errors(labels: Numbers, logits: Floats) -> Floats:
    """Return the squared error of each output of a regression, (N,): labels (N,), logits (N, 1)."""
    return np.asarray((logits[:, 0].astype(np.float64) - labels) ** 2)


def are_summable(columns: Numbers) -> bool:
    """Return whether sums over resampled examples are finite in single precision, in which they are taken.

    >>> are_summable(np.array([1e29])), are_summable(np.array([1e31])), are_summable(np.array([np.inf]))
    (True, False, False)
    """
    return bool((np.abs(columns) <= _LARGEST).all())


def is_constant(values: Numbers) -> bool:
    """Return whether outputs, or targets, are one number up to rounding in single precision.

    >>> is_constant(np.array([2.5, 2.5000001])), is_constant(np.array([2.5, 2.51]))
    (True, False)
    """
    return bool(np.ptp(values) <= _ROUNDING * max(1.0, float(np.abs(values).max())))


def ranks(values: Numbers) -> Floats:
    """Return the rank of each value from 1, equal values at their mean rank: (..., N) to (..., N).

    >>> ranks(np.array([3.0, 1.0, 3.0, 9.0])).tolist()
    [2.5, 1.0, 2.5, 4.0]
    """
    if values.ndim > 1:
        return np.stack([ranks(each) for each in values])
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[places], dtype=np.float64)


def _moments(labels: Numbers, columns: Numbers) -> Floats:
    """Return both variables, their squares and their product, (5, P, N), each variable standardized.

    A correlation does not depend on scale, and sums of standardized numbers lose no digits.
    """
    x = np.broadcast_to(_standardized(np.asarray(labels, dtype=np.float64)), columns.shape)
    y = _standardized(np.asarray(columns, dtype=np.float64))
    return np.stack([x, y, x * x, y * y, x * y])


def _standardized(values: Floats) -> Floats:
    spread = values.std(axis=-1, keepdims=True)
    return np.asarray((values - values.mean(axis=-1, keepdims=True)) / np.where(spread > 0, spread, 1.0))


def _moments_of_ranks(labels: Numbers, columns: Numbers) -> Floats:
    return _moments(ranks(labels), ranks(columns))


def _correlation(sums: Floats, examples: int) -> Floats:
    """Return Pearson's coefficient, not a number where either variable is constant."""
    x, y, xx, yy, xy = sums / examples
    spread = np.maximum(xx - x * x, 0.0) * np.maximum(yy - y * y, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, np.clip((xy - x * y) / np.sqrt(spread), -1.0, 1.0), np.nan)


_ROUNDING: Final = 1e-6
_LARGEST: Final = 1e30
BINS: Final = 15
_BIN_STEP: Final = 4.0

SCORINGS: Final[dict[str, Scoring]] = {
    "eval_accuracy": Scoring(_correct, _mean, of_counts=_correct_of_counts),
    "eval_f1": Scoring(_hits_and_involved, _f1, of_counts=_involved_of_counts),
    "eval_mcc": Scoring(_counts, _mcc, of_counts=_counts_themselves),
    "eval_loss": Scoring(_as_given, _mean, cross_entropies),
    "eval_ece": Scoring(_gaps_of_bins, _mean_gap, binned_gaps),
    "eval_brier": Scoring(_as_given, _mean, squared_distances),
    "eval_pearson": Scoring(_moments, _correlation, outputs),
    # Ranks change with the examples that are drawn.
    "eval_spearman": Scoring(_moments_of_ranks, _correlation, outputs, resamples=False),
    "eval_mse": Scoring(_as_given, _mean, squared_errors),
}


def scores(metric: str, labels: Numbers, columns: Numbers) -> Floats:
    """Return the score of every column: labels (N,), columns (P, N), scores (P,).

    >>> labels, predicted = np.array([1, 1, 0, 1]), np.array([[1, 0, 0, 1], [1, 1, 1, 1]])
    >>> scores("eval_f1", labels, predicted).round(3).tolist()
    [0.8, 0.857]
    """
    scoring = SCORINGS[metric]
    sums = scoring.features(labels, columns).sum(axis=2, dtype=np.float64)
    return scoring.combine(sums[:, :, None], labels.size)[:, 0]
