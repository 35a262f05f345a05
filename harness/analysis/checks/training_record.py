"""Compare the record of a training with its settings: losses, learning rates, parameters, lengths of rows.

A trial that breaks its settings fails when it runs, so a stored one that does was changed afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis.checks.contradiction import Contradiction
from harness.analysis.checks.observed import breaches
from harness.analysis.checks.schedule import optimizer_steps
from harness.model.measurements import MOST_LOSSES
from harness.model.results import TrialResult
from harness.model.trial import Trial

# Stored losses of steps have nine digits.
_LOSS_TOLERANCE: Final = 1e-6
_LOSSES: Final = ("train_loss", "train_step_loss")
_PARAMETERS: Final = ("trainable_parameters", "total_parameters")


def recorded(result: TrialResult, scores: Sequence[str]) -> Iterator[Contradiction]:
    """Yield the contradictions in the record of a completed training.

    Args:
        result: the trial.
        scores: the names of its scores, which depend on how it trained.
    """
    for breach in breaches(result):
        yield Contradiction((*scores, *_LOSSES), "a completed training is stored", breach)
    yield from _losses(result, scores)
    yield from _parameters(result)
    yield from _lengths(result)


def _losses(result: TrialResult, scores: Sequence[str]) -> Iterator[Contradiction]:
    """Compare the losses of all steps with the plan, and their means with the losses of the epochs."""
    losses, data = result.values("train_step_loss"), result.data
    if not losses or data is None:
        return
    steps = optimizer_steps(result.trial, data.train_examples)
    kept = -(-steps // -(-steps // MOST_LOSSES))
    if len(losses) != kept:
        yield Contradiction(_LOSSES, f"{len(losses)} losses of steps are stored", f"the plan has {kept}")
        return
    batches = -(-data.train_examples // result.trial.batch_size)
    epochs = -(-steps // -(-batches // result.trial.train.gradient_accumulation_steps))
    if len(result.epochs) != epochs:
        text = f"{len(result.epochs)} epochs are stored"
        yield Contradiction((*scores, *_LOSSES), text, f"the plan has {epochs}")
    if kept < steps:
        return
    for epoch, mean in zip(result.epochs, _means(result.trial, data.train_examples, losses), strict=False):
        if not math.isclose(epoch.train_loss, mean, rel_tol=_LOSS_TOLERANCE, abs_tol=_LOSS_TOLERANCE):
            stored = f"train_loss {epoch.train_loss:.6g} of epoch {epoch.epoch} is stored"
            yield Contradiction(_LOSSES, stored, f"{mean:.6g} from the losses of its steps")


def _means(trial: Trial, examples: int, losses: Sequence[float]) -> Iterator[float]:
    """Yield the mean loss over the batches of each epoch."""
    accumulated = trial.train.gradient_accumulation_steps
    if accumulated > 1 and trial.padding.strategy == "batch_rebalance":
        # Its sampler repeats examples in more batches.
        return
    full, rest = divmod(-(-examples // trial.batch_size), accumulated)
    steps = full + bool(rest)
    for start in range(0, len(losses), steps):
        of_epoch = losses[start : start + steps]
        total, batches = accumulated * sum(of_epoch), accumulated * len(of_epoch)
        # The last step of an epoch has the batches that are left; `max_steps` can end an epoch before it.
        if rest and len(of_epoch) == steps:
            total -= (accumulated - rest) * of_epoch[-1]
            batches -= accumulated - rest
        yield total / batches


def _parameters(result: TrialResult) -> Iterator[Contradiction]:
    """Compare the parameters of a model with those of its checkpoint: only an adapter adds and freezes."""
    if result.checkpoint is None:
        return
    loaded, adapts = result.checkpoint.parameters, result.trial.adapter.kind != "none"
    total, trains = (result.value(name) for name in reversed(_PARAMETERS))
    if total is not None and (total < loaded if adapts else total != loaded):
        yield Contradiction(
            _PARAMETERS, f"total_parameters {total:.0f} is stored", f"the checkpoint has {loaded}"
        )
    if total is not None and trains is not None and (trains > total if adapts else trains != total):
        stored = f"trainable_parameters {trains:.0f} is stored"
        yield Contradiction(_PARAMETERS, stored, f"the model has {total:.0f} parameters")


def _lengths(result: TrialResult) -> Iterator[Contradiction]:
    lengths = None if result.predictions is None else result.predictions.lengths
    if lengths is not None and result.data is not None and max(lengths) > result.data.longest:
        stored = f"an evaluation example of {max(lengths):.0f} tokens is stored"
        yield Contradiction((), stored, f"the longest has {result.data.longest}")
