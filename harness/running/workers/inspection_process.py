"""Inspect the data of a suite: find one checkpoint and the data, and ask a separate process for the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.assets.places import Note, cache_root
from harness.errors import InvalidInputError
from harness.model.inspection import Inspection, InspectionAnswer, InspectionRequest
from harness.model.job import Job
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.running.preflight import Assets
from harness.running.workers.scoring_process import inspect_data
from harness.suite.matrix import expand

Inspector = Callable[[InspectionRequest], InspectionAnswer]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The row of the training split and the batch of its first epoch, from 0, and the checkpoint.

    `checkpoint` is any name that a suite could give; None takes the first one of the suite.
    """

    checkpoint: str | None = None
    example: int = 0
    batch: int = 0


def inspect_suite(
    suite: Suite,
    assets: Assets,
    *,
    wanted: Wanted,
    note: Note,
    inspector: Inspector = inspect_data,
) -> Inspection:
    """Inspect the data of a suite as a checkpoint tokenizes them, under every padding of the suite.

    Args:
        suite: from `read_suite`.
        assets: finds the checkpoint and the data.
        wanted: which checkpoint, row and batch.
        note: receives a sentence about a download or a stand-in.
        inspector: for tests.

    Raises:
        UnavailableError: the checkpoint, the data or the training packages are not available here.
        InvalidInputError: the data cannot be used, or have no such row or batch.
    """
    trials = _trials(suite, wanted.checkpoint)
    found = assets.checkpoint(trials[0].checkpoint, trials[0].revision, note)
    data = assets.data(trials[0].task, note)
    if len(suite.tasks) > 1:
        others = ", ".join(task.name for task in suite.tasks if task != trials[0].task)
        note(f"inspecting {trials[0].task.name}; -s 'matrix.task=[...]' chooses another one: {others}")
    cache = str(cache_root(note).absolute())
    jobs = tuple(
        Job(
            trial=trial,
            measure=suite.measure,
            checkpoint=found,
            data=data,
            cache_dir=cache,
            allow_weights=suite.allow_weights,
        )
        for trial in trials
    )
    answer = inspector(InspectionRequest(jobs=jobs, example=wanted.example, batch=wanted.batch))
    if answer.found is None:
        raise InvalidInputError(answer.reason or "the inspector gave no reason", hint=answer.hint)
    return answer.found


def _trials(suite: Suite, checkpoint: str | None) -> tuple[Trial, ...]:
    """Return a trial for each padding and batch size, all of one checkpoint and task; no device is needed."""
    every = expand(suite, ("cpu",))
    trials = [trial for trial in every if trial.task == every[0].task]
    chosen = [trial for trial in trials if trial.checkpoint == (checkpoint or trials[0].checkpoint)]
    if not chosen:
        chosen = [trial.model_copy(update={"checkpoint": checkpoint, "revision": None}) for trial in trials]
    ways: dict[object, Trial] = {}
    for trial in chosen:
        if trial.revision == chosen[0].revision:
            ways.setdefault((trial.padding, trial.train.per_device_train_batch_size), trial)
    return tuple(ways.values())
