"""Accuracy of one variant by label and by length, from the logits that its trials store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

import numpy as np

from harness.analysis.stats.sheets import Sheet, read_sheet
from harness.model.results import TrialResult

QUARTERS: Final = ("shortest quarter", "second quarter", "third quarter", "longest quarter")


@dataclass(frozen=True, slots=True)
class Part:
    """The share of the examples of one part that are classified right, mean over seeds, and how many it has.

    `lengths` are the fewest and the most tokens of its examples, None for a part by label.
    """

    name: str
    accuracy: float
    examples: int
    lengths: tuple[int, int] | None = None


def parts_of(results: Sequence[TrialResult]) -> tuple[Part, ...]:
    """Return the parts of the evaluated examples: one for each label, then the quarters by length.

    A regression has none.

    Quarters are those of the quartiles; examples of equal length are in the same one, so that quarters differ
    in size and may be empty, which leaves them out.

    Args:
        results: the trials of one variant. Trials without predictions, degenerate ones, and those with other
            examples, labels or lengths than the first are left out.
    """
    kept = [
        (result, sheet) for result in results if result.sound and (sheet := read_sheet(result)) is not None
    ]
    if not kept:
        return ()
    first, sheet = kept[0]
    if sheet.regression:
        return ()
    lengths = _lengths(first)
    sheets = [
        other
        for result, other in kept
        if np.array_equal(other.ids, sheet.ids)
        and np.array_equal(other.labels, sheet.labels)
        and _lengths(result) == lengths
    ]
    names = first.data.labels if first.data is not None else ()
    found = list(_by_label(sheets, names))
    if lengths is not None:
        found += _by_length(sheets, np.array(lengths))
    return tuple(found)


def _lengths(result: TrialResult) -> tuple[int, ...] | None:
    """Return the tokens of each example of the first evaluation split."""
    kept = None if result.predictions is None else result.predictions.on()
    return None if kept is None else kept.lengths


def _by_label(sheets: Sequence[Sheet], names: Sequence[str]) -> Iterator[Part]:
    labels = sheets[0].labels
    for label in np.unique(labels).tolist():
        name = names[label] if label < len(names) else str(label)
        inside = labels == label
        yield Part(name, _accuracy(sheets, inside), int(inside.sum()))


def _by_length(
    sheets: Sequence[Sheet], lengths: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> Iterator[Part]:
    quarters = np.searchsorted(np.quantile(lengths, (0.25, 0.5, 0.75)), lengths, side="left")
    for at, name in enumerate(QUARTERS):
        inside = quarters == at
        if inside.any():
            ends = int(lengths[inside].min()), int(lengths[inside].max())
            yield Part(name, _accuracy(sheets, inside), int(inside.sum()), ends)


def _accuracy(sheets: Sequence[Sheet], inside: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    return fmean(float((sheet.predicted == sheet.labels)[inside].mean()) for sheet in sheets)
