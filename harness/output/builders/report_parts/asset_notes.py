"""Notes on what a run used: stand-ins, data sets, their splits, and weights that its suite accepts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.analysis.assets_used import limit_notes, stand_in_notes, synthetic_notes, weight_notes
from harness.data.corpus import DuplicateRows
from harness.data.data_notes import data_remarks
from harness.model.assets import Data
from harness.model.results import Report
from harness.words import count


def asset_notes(report: Report) -> Iterator[str]:
    """Yield what a reader must know of the checkpoints and data behind the rows, one sentence a line."""
    yield from stand_in_notes(report.results)
    yield from synthetic_notes(report.results)
    yield from limit_notes(report.results)
    yield from _splits(report)
    yield from _data(report)
    yield from weight_notes(report.results)


def _splits(report: Report) -> Iterable[str]:
    tasks = dict.fromkeys(result.trial.task for result in report.results)
    for task in tasks:
        first, *further = task.eval_splits
        if further:
            yield (
                f"{task.name} is evaluated on {count(len(task.eval_splits), 'split')}: scores without the "
                f"name of a split are those of {first}"
            )


def _data(report: Report) -> Iterable[str]:
    """Remarks on the data behind each result, each once."""
    return {
        f"data {data.name}: {remark}": None
        for data in (result.data for result in report.results)
        if data is not None
        for remark in data_remarks(data.published, _duplicates(data), data.train_examples, data.eval_examples)
    }


def _duplicates(data: Data) -> DuplicateRows:
    counted = data.duplicates
    if counted is None:
        return DuplicateRows(0, 0, 0)
    return DuplicateRows(counted.train, counted.evaluation, counted.leaked)
