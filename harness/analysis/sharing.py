"""Which trials can share the scores of one training: equal but for what is proved to compute one function."""

from __future__ import annotations

from collections.abc import Iterable

from harness.analysis.parity import function_of, verdict_of
from harness.analysis.training_verdicts import training_of, training_verdict
from harness.model.axis import axes_of
from harness.model.results import TrialResult
from harness.model.trial import Trial
from harness.model.values import ORDER_KEEPING, Padding


def has_window(trial: Trial) -> bool:
    """Return whether a window of a trial's steps is as fast as its training.

    Compiled and captured passes depend on the shapes of the whole plan, and a window of several ranks is not
    tested: those trials are timed as a whole.
    """
    return (
        trial.tokenization is None
        and trial.compile.mode == "off"
        and not trial.cuda_graphs
        and trial.world_size == 1
    )


def quality_of(trial: Trial) -> Trial:
    """Return the trial that represents all those with the same batches, training settings and seed.

    They differ in interchangeable axes alone; a padding that composes its own batches is kept.
    """
    fields = type(trial).model_fields
    changes: dict[str, object] = {
        field: fields[field].get_default()
        for name, axis in axes_of(type(trial)).items()
        if axis.interchangeable and name != "padding"
        for field in axis.fields or (name,)
    }
    strategy = trial.padding.strategy
    kept = "dynamic" if strategy in ORDER_KEEPING else strategy
    return trial.model_copy(update=changes | {"padding": Padding(strategy=kept)})


def trainings_saved(trials: Iterable[Trial]) -> int:
    """Return how many trainings sharing saves, if every proof passes."""
    sharing = [quality_of(trial).id for trial in trials if has_window(trial)]
    return len(sharing) - len(set(sharing))


def is_proved(
    result: TrialResult, functions: Iterable[TrialResult], trainings: Iterable[TrialResult]
) -> bool:
    """Return whether the proofs of a run show that a trial computes and trains as the plain reference.

    Args:
        result: of the trial, with the checkpoint that was used.
        functions: proofs of functions.
        trainings: proofs of training.
    """
    if result.checkpoint is None:
        return False
    function = function_of(result.trial).id
    training = training_of(result.trial, result.checkpoint.model_type).id
    return any(
        proof.trial.id == function and verdict_of(proof) in ("exact", "within") for proof in functions
    ) and any(proof.trial.id == training and training_verdict(proof) == "same" for proof in trainings)


def trained_by(result: TrialResult) -> str:
    """Return the id of the trial whose training gave the scores of a result, mostly its own."""
    shared = result.apart.trained if result.apart is not None else None
    return shared or result.trial.id
