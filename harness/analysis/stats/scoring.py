"""Scores as sums over examples, so that one matrix product computes the scores of all resamples.

Each score maps examples to features and combines the sums of these. Conventions are those of scikit-learn,
which `evaluate` uses: an F1 without any positive is 0, a class that is neither present nor predicted is left
out of the macro average, an undefined Matthews coefficient is 0.

A `Sheet` has the stored predictions of trials as arrays, aligned to the same examples in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.model.results import TrialResult

Floats = NDArray[np.floating[Any]]
Numbers = NDArray[np.number[Any]]


@dataclass(frozen=True, slots=True)
class Scoring:
    """The computation of a score from examples.

    `features` maps labels (N,) and columns (P, N) to (F, P, N); a column contains predicted classes, or
    losses if `from_losses`. `combine` maps their sums (F, P, R) and the number of examples to scores (P, R).
    """

    features: Callable[[Numbers, Numbers], Floats]
    combine: Callable[[Floats, int], Floats]
    from_losses: bool = False


def _correct(labels: Numbers, predicted: Numbers) -> Floats:
    return np.equal(predicted, labels)[None].astype(np.float32)


def _mean(sums: Floats, examples: int) -> Floats:
    return np.asarray(sums[0] / examples)


def _hits_and_involved(labels: Numbers, predicted: Numbers) -> Floats:
    """Return for each class its true positives, and its predicted plus its actual members."""
    counts = _counts(labels, predicted)
    return np.concatenate([counts[0::3], counts[1::3] + counts[2::3]])


def _counts(labels: Numbers, predicted: Numbers) -> Floats:
    """Return true positives, predicted and actual members of each class; for two classes, class 1 only."""
    classes = int(max(labels.max(), predicted.max())) + 1
    chosen = [1] if classes <= 2 else range(classes)
    features = []
    for each in chosen:
        guessed, actual = predicted == each, np.broadcast_to(labels == each, predicted.shape)
        features += [guessed & actual, guessed, actual]
    return np.stack(features).astype(np.float32)


def _f1(sums: Floats, examples: int) -> Floats:  # noqa: ARG001 - the signature all scores share
    hits, involved = np.split(sums, 2)
    each = 2 * hits / np.maximum(involved, 1)
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


def _losses(labels: Numbers, losses: Numbers) -> Floats:  # noqa: ARG001 - the signature all scores share
    return losses[None].astype(np.float32)


SCORINGS: Final[dict[str, Scoring]] = {
    "eval_accuracy": Scoring(_correct, _mean),
    "eval_f1": Scoring(_hits_and_involved, _f1),
    "eval_mcc": Scoring(_counts, _mcc),
    "eval_loss": Scoring(_losses, _mean, from_losses=True),
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


def cross_entropies(labels: Numbers, logits: Floats) -> Floats:
    """Return the loss of each example in nats: labels (N,), logits (N, C), losses (N,).

    >>> cross_entropies(np.array([1]), np.array([[0.0, 0.0]])).round(4).tolist()
    [0.6931]
    """
    highest = logits.max(axis=1, keepdims=True)
    with np.errstate(over="ignore"):
        lowered = logits - highest
        losses = np.log(np.exp(lowered).sum(axis=1)) - lowered[np.arange(labels.size), labels.astype(np.intp)]
        # Resampling uses single precision: losses that overflow there are infinite here too.
        return np.asarray(losses.astype(np.float32), dtype=np.float64)


Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One trial's last evaluation: `ids`, `labels` and `predicted` have shape (N,), `logits` (N, C)."""

    ids: Integers
    labels: Integers
    predicted: Integers
    logits: Floats

    def take(self, ids: Integers) -> Sheet:
        """Return the rows of these ids, in their order; all must exist."""
        if np.array_equal(ids, self.ids):
            return self
        order = np.argsort(self.ids)
        rows = order[np.searchsorted(self.ids, ids, sorter=order)]
        return Sheet(ids, self.labels[rows], self.predicted[rows], self.logits[rows])

    def column(self, metric: str) -> Integers | Floats:
        """Return the input of the metric: (N,) predicted classes, or losses in nats."""
        return cross_entropies(self.labels, self.logits) if SCORINGS[metric].from_losses else self.predicted

    def score(self, metric: str) -> float:
        """Return the metric over all examples."""
        return float(scores(metric, self.labels, self.column(metric)[None])[0])


@dataclass(frozen=True, slots=True)
class PairedSheets:
    """Both sides on the same examples, one sheet per seed; `left_out` counts unshared examples."""

    ids: Integers
    labels: Integers
    before: tuple[Sheet, ...]
    after: tuple[Sheet, ...]
    left_out: int


def read_sheet(result: TrialResult) -> Sheet | None:
    """Return the predictions of a trial as arrays, or None if it stored none."""
    if result.predictions is None:
        return None
    logits = np.asarray(result.predictions.logits, dtype=np.float64)
    return Sheet(
        ids=np.asarray(result.predictions.example_ids, dtype=np.int64),
        labels=np.asarray(result.predictions.labels, dtype=np.int64),
        predicted=logits.argmax(axis=1),
        logits=logits,
    )


def pair_sheets(before: Sequence[Sheet], after: Sequence[Sheet]) -> PairedSheets | str:
    """Return the sheets on their common examples, or a message that explains why pairing is impossible."""
    sheets = [*before, *after]
    ids = sheets[0].ids
    if not all(np.array_equal(ids, sheet.ids) for sheet in sheets):
        ids = reduce(np.intersect1d, (sheet.ids for sheet in sheets))
    if not ids.size:
        return "the two sides share no evaluation example"
    taken = [sheet.take(ids) for sheet in sheets]
    labels = taken[0].labels
    disagreeing = max(int((sheet.labels != labels).sum()) for sheet in taken)
    if disagreeing:
        return f"the labels of {disagreeing} of {ids.size} shared examples disagree"
    left_out = max(sheet.ids.size for sheet in sheets) - int(ids.size)
    return PairedSheets(ids, labels, tuple(taken[: len(before)]), tuple(taken[len(before) :]), left_out)
