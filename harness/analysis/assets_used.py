"""Sentences on assets that are not the named ones, or not whole, for all results with their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from harness.model.assets import Checkpoint, Data
from harness.model.results import TrialResult

_MOST_WEIGHTS: Final = 3


def asset_sentences(results: Iterable[TrialResult]) -> tuple[str, ...]:
    """Return each sentence once: stand-ins, generated data, limits, and weights that the suite accepts."""
    found = list(results)
    return (
        *stand_in_notes(found),
        *synthetic_notes(found),
        *limit_notes(found),
        *weight_notes(found),
    )


def is_stand_in(result: TrialResult) -> bool:
    """Return whether the trial used a stand-in for its checkpoint."""
    return result.checkpoint is not None and result.checkpoint.stand_in


def is_synthetic(result: TrialResult) -> bool:
    """Return whether the trial used generated data."""
    return result.data is not None and result.data.synthetic


def stand_ins_of(results: Iterable[TrialResult]) -> dict[str, str]:
    """Return the stand-in of each checkpoint that has one, by name."""
    return {each.requested: each.name for each in _checkpoints(results) if each.stand_in}


def stand_in_notes(results: Iterable[TrialResult]) -> Iterator[str]:
    """Yield one sentence on all stand-ins, if there are any."""
    replaced = stand_ins_of(results)
    if len(replaced) == 1:
        ((requested, name),) = replaced.items()
        yield f"stand-in: {name} was used in place of {requested}; its numbers are not those of {requested}"
    elif replaced:
        pairs = ", ".join(f"{name} in place of {requested}" for requested, name in replaced.items())
        yield f"stand-ins: {pairs}; their numbers are not those of the checkpoints they replace"


def synthetic_notes(results: Iterable[TrialResult]) -> Iterator[str]:
    """Yield a sentence on each generated data set."""
    names = {(data.requested, data.name) for data in _data(results) if data.synthetic}
    for requested, name in sorted(names):
        yield f"synthetic data: {name}, a generated corpus, was used in place of {requested}"


def limit_notes(results: Iterable[TrialResult]) -> Iterator[str]:
    """Yield a sentence on each data set of which only the first rows are used."""
    tasks = dict.fromkeys(result.trial.task for result in results)
    limits = dict.fromkeys((task.name, str(task.limit)) for task in tasks if task.limit is not None)
    for name, limit in limits:
        yield (
            f"limit: only the first rows of {name} in the order of its files: {limit}; scores are not "
            "those of the whole data set"
        )


def weight_notes(results: Iterable[TrialResult]) -> Iterator[str]:
    """Yield a sentence on each checkpoint whose weights do not fit its config and were accepted."""
    for name, weights in dict.fromkeys((each.name, each.allowed_weights) for each in _checkpoints(results)):
        if weights:
            shown = ", ".join(weights[:_MOST_WEIGHTS])
            more = f" and {len(weights) - _MOST_WEIGHTS:,} more" if len(weights) > _MOST_WEIGHTS else ""
            yield f"allowed weights: {name}: random or unused, as allow_weights accepts: {shown}{more}"


def _checkpoints(results: Iterable[TrialResult]) -> Iterator[Checkpoint]:
    return (result.checkpoint for result in results if result.checkpoint is not None)


def _data(results: Iterable[TrialResult]) -> Iterator[Data]:
    return (result.data for result in results if result.data is not None)
