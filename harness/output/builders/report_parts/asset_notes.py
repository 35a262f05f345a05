"""Notes on what a run used: stand-ins, data sets, their splits, and weights that its suite accepts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from harness.data.corpus import DuplicateRows
from harness.data.data_notes import data_remarks
from harness.model.assets import Data
from harness.model.results import Report
from harness.words import count

_MOST_WEIGHTS: Final = 3


def asset_notes(report: Report) -> Iterator[str]:
    """Yield what a reader must know of the checkpoints and data behind the rows, one sentence a line."""
    yield from _stand_ins(report)
    yield from _synthetic(report)
    yield from _limited(report)
    yield from _splits(report)
    yield from _data(report)
    yield from _allowed_weights(report)


def stand_ins_of(report: Report) -> dict[str, str]:
    """Return the stand-in of each checkpoint that has one, by name."""
    return {
        result.checkpoint.requested: result.checkpoint.name
        for result in report.results
        if result.checkpoint is not None and result.checkpoint.stand_in
    }


def _stand_ins(report: Report) -> Iterable[str]:
    replaced = stand_ins_of(report)
    if len(replaced) == 1:
        ((requested, name),) = replaced.items()
        yield f"stand-in: {name} was used in place of {requested}; its numbers are not those of {requested}"
    elif replaced:
        pairs = ", ".join(f"{name} in place of {requested}" for requested, name in replaced.items())
        yield f"stand-ins: {pairs}; their numbers are not those of the checkpoints they replace"


def _synthetic(report: Report) -> Iterable[str]:
    names = {
        (result.data.requested, result.data.name)
        for result in report.results
        if result.data is not None and result.data.synthetic
    }
    for requested, name in sorted(names):
        yield f"synthetic data: {name}, a generated corpus, was used in place of {requested}"


def _limited(report: Report) -> Iterable[str]:
    tasks = dict.fromkeys(result.trial.task for result in report.results)
    for name, limit in dict.fromkeys(
        (task.name, str(task.limit)) for task in tasks if task.limit is not None
    ):
        yield (
            f"limit: only the first rows of {name} in the order of its files: {limit}; scores are not "
            "those of the whole data set"
        )


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


def _allowed_weights(report: Report) -> Iterable[str]:
    """Each checkpoint once whose weights do not fit its config and were accepted by the suite."""
    checkpoints = [result.checkpoint for result in report.results if result.checkpoint is not None]
    for name, weights in dict.fromkeys((one.name, one.allowed_weights) for one in checkpoints):
        if weights:
            shown = ", ".join(weights[:_MOST_WEIGHTS])
            more = f" and {len(weights) - _MOST_WEIGHTS:,} more" if len(weights) > _MOST_WEIGHTS else ""
            yield f"allowed weights: {name}: random or unused, as allow_weights accepts: {shown}{more}"
