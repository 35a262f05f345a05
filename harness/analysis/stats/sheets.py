"""Sheets: the stored predictions of trials as arrays, aligned to the same examples in the same order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.analysis.stats.scoring import (
    SCORINGS,
    Floats,
    Numbers,
    chosen,
    highest,
    is_constant,
    scores,
    totals,
)
from harness.model.results import TrialResult

Integers = NDArray[np.integer[Any]]

# A comparison has a few copies of the predicted classes of every trial.
_FEW_CLASSES: Final = 127


@dataclass(frozen=True, slots=True)
class Sheet:
    """One trial's last evaluation: `ids`, `labels` and `predicted` have shape (N,), `logits` (N, C).

    Of a regression, whose `logits` are (N, 1), `labels` are its targets and `predicted` its outputs.
    """

    ids: Integers
    labels: Numbers
    predicted: Numbers
    logits: Floats

    @property
    def regression(self) -> bool:
        """Whether these are outputs of a regression: a classifier has two classes or more."""
        return bool(self.logits.shape[1] == 1)

    @property
    def degenerate(self) -> bool:
        """Whether predictions or labels are of a single class, or constant."""
        if self.regression:
            return is_constant(self.predicted) or is_constant(self.labels)
        return any(bool((each == each[0]).all()) for each in (self.predicted, self.labels))

    def take(self, ids: Integers) -> Sheet:
        """Return the rows of these ids, in their order; all must exist."""
        if np.array_equal(ids, self.ids):
            return self
        order = np.argsort(self.ids)
        rows = order[np.searchsorted(self.ids, ids, sorter=order)]
        return Sheet(ids, self.labels[rows], self.predicted[rows], self.logits[rows])

    def column(self, metric: str) -> Numbers:
        """Return the input of the metric, (N,): predicted classes, or one number an example of its logits."""
        of_logits = SCORINGS[metric].of_logits
        return self.predicted if of_logits is None else of_logits(self.labels, self.logits)

    def score(self, metric: str) -> float:
        """Return the metric over all examples."""
        return scores_of([self], metric)[0]


def scores_of(sheets: Sequence[Sheet], metric: str) -> list[float]:
    """Return the metric of each sheet over all examples, of many sheets in little more time than of one."""
    found: list[float] = []
    for group in _same_labels(sheets):
        found += scores(metric, group[0].labels, _columns(group, metric)).tolist()
    return found


def losses_of(sheets: Sequence[Sheet]) -> list[float]:
    """Return the mean loss of each sheet in double precision, in nats."""
    found: list[float] = []
    for group in _same_labels(sheets):
        labels, logits = _laid_end_to_end(group)
        with np.errstate(over="ignore"):
            lowered = logits - highest(logits)[:, None]
            losses = np.log(totals(np.exp(lowered))) - lowered[np.arange(labels.size), labels.astype(np.intp)]
        found += losses.reshape(len(group), -1).mean(axis=1).tolist()
    return found


def _same_labels(sheets: Sequence[Sheet]) -> Iterator[list[Sheet]]:
    """Yield runs of consecutive sheets with the same labels and classes, of which a report has one."""
    for _, group in groupby(sheets, key=lambda sheet: (id(sheet.labels), sheet.logits.shape)):
        yield list(group)


def _laid_end_to_end(sheets: Sequence[Sheet]) -> tuple[Numbers, Floats]:
    """Return the labels (S x N,) and the logits (S x N, C) of sheets with the same labels."""
    return np.tile(sheets[0].labels, len(sheets)), np.concatenate([sheet.logits for sheet in sheets])


def _columns(sheets: Sequence[Sheet], metric: str) -> Numbers:
    """Return the inputs of the metric, (S, N), of sheets with the same labels."""
    of_logits = SCORINGS[metric].of_logits
    if of_logits is None:
        return np.stack([sheet.predicted for sheet in sheets])
    return of_logits(*_laid_end_to_end(sheets)).reshape(len(sheets), -1)


@dataclass(frozen=True, slots=True)
class PairedSheets:
    """Both sides on the same examples, one sheet per seed; `left_out` counts unshared examples."""

    ids: Integers
    labels: Numbers
    before: tuple[Sheet, ...]
    after: tuple[Sheet, ...]
    left_out: int


def read_sheet(result: TrialResult, split: str | None = None) -> Sheet | None:
    """Return the predictions of a trial as arrays, or None if it stored none.

    Args:
        result: a trial.
        split: the name of a further evaluation split; without one, the first or only split.
    """
    kept = None if result.predictions is None else result.predictions.on(split)
    if kept is None:
        return None
    logits = np.asarray(kept.logits, dtype=np.float64)
    regression = logits.shape[1] == 1
    return Sheet(
        ids=_integers(kept.example_ids),
        labels=np.asarray(kept.labels, dtype=np.float64) if regression else _integers(kept.labels),
        predicted=logits[:, 0] if regression else _small(chosen(logits), logits.shape[1]),
        logits=logits,
    )


class SheetReader:
    """Read the predictions of the trials of a comparison, those of a baseline in many pairs once."""

    def __init__(self) -> None:
        # With the trial, whose identity is not another one's as long as it lives.
        self._read: dict[tuple[int, str | None], tuple[TrialResult, Sheet | None]] = {}

    def __call__(self, result: TrialResult, split: str | None = None) -> Sheet | None:
        """Return what `read_sheet` does, the same object every time."""
        key = id(result), split
        if key not in self._read:
            self._read[key] = result, read_sheet(result, split)
        return self._read[key][1]


def _small(classes: Integers, number: int) -> Integers:
    return classes.astype(np.int8 if number <= _FEW_CLASSES else np.int32)


@lru_cache(maxsize=32)
def _integers(numbers: tuple[int | float, ...]) -> Integers:
    """Return example ids or classes as an array, which the trials of a report share."""
    found = np.asarray(numbers, dtype=np.int64)
    found.setflags(write=False)
    return found


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
