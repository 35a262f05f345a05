"""Proofs of training, that an engine trains as the reference does: their coverage and verdicts."""

from __future__ import annotations

from typing import Final, Literal

from harness.model.arguments import SchedulerKwargs, Train
from harness.model.proof import TrainingCheck
from harness.model.results import Report, TrialResult
from harness.model.seeds import SeedRoles
from harness.model.tasks import Task
from harness.model.trial import Trial
from harness.model.values import Padding

TrainingVerdict = Literal["same", "differs", "unproven"]

_STATIC_LENGTH: Final = 40
_LARGEST_MULTIPLE: Final = 64
_MOST_WORKERS: Final = 2
_LARGEST_SHARE: Final = 0.25
_MOST_STEPS: Final = {"num_decay_steps": 2, "num_stable_steps": 1, "timescale": 5}
_SEED_ROLES: Final = SeedRoles(init=0, order=1, dropout=2)
# Two epochs that exercise clipping, decay, warm-up, betas and epsilon other than the defaults, and a short
# last batch in an incomplete accumulation window. With the large epsilon, Adam depends on the size of
# gradients and not on the rounding of gradients that are zero.
_TRAIN: Final = Train(
    num_train_epochs=2,
    per_device_train_batch_size=4,
    per_device_eval_batch_size=7,
    gradient_accumulation_steps=3,
    learning_rate=2e-3,
    weight_decay=0.5,
    adam_beta1=0.8,
    adam_beta2=0.95,
    adam_epsilon=1e-3,
    max_grad_norm=0.5,
    warmup_steps=2,
)
# Without division by the size of gradients, a step at AdamW's rate would drown in rounding.
_SGD_RATE: Final = 0.2


def training_of(trial: Trial, family: str) -> Trial:
    """Return the trial whose proof covers all trials with the same way of training and model family.

    Padding, attention, engine, precision, compilation, device, optimizer, schedule, label smoothing, gradient
    checkpointing and data loader workers are kept; the proof trains a small model of the family on generated
    rows. It does not cover CUDA graph replay.

    Args:
        trial: any trial that trains.
        family: the model type of its checkpoint, such as `bert`.
    """
    padding, given = trial.padding, trial.train
    rate = _SGD_RATE if given.optim == "sgd" else _TRAIN.learning_rate
    return trial.model_copy(
        update={
            "checkpoint": family,
            "revision": None,
            "task": Task(kind=trial.task.kind),
            "cuda_graphs": False,
            "seed": 0 if isinstance(trial.seed, int) else _SEED_ROLES,
            "padding": Padding(
                strategy=padding.strategy,
                length=None if padding.length is None else _STATIC_LENGTH,
                multiple_of=padding.multiple_of and min(padding.multiple_of, _LARGEST_MULTIPLE),
            ),
            "train": _TRAIN.model_copy(
                update={
                    "optim": given.optim,
                    "learning_rate": rate,
                    "lr_scheduler_type": given.lr_scheduler_type,
                    "lr_scheduler_kwargs": _short(given, rate),
                    "label_smoothing_factor": given.label_smoothing_factor,
                    "gradient_checkpointing": given.gradient_checkpointing,
                    "dataloader_num_workers": min(given.dataloader_num_workers, _MOST_WORKERS),
                    # The same batches for any number of devices.
                    "per_device_train_batch_size": max(
                        1, _TRAIN.per_device_train_batch_size // trial.world_size
                    ),
                }
            ),
        }
    )


def _short(train: Train, rate: float) -> SchedulerKwargs | None:
    """Return the options of a schedule, with steps that the few of a proof reach, in shares of its rate."""
    options = train.lr_scheduler_kwargs
    if options is None:
        return None
    steps = {name: min(value, _MOST_STEPS[name]) for name, value in options if name in _MOST_STEPS and value}
    rates = {
        name: min(value / train.learning_rate, _LARGEST_SHARE) * rate
        for name, value in options
        if name in ("min_lr", "lr_end") and value is not None
    }
    return options.model_copy(update=steps | rates)


def training_verdict(proof: TrialResult) -> TrainingVerdict:
    """Return the verdict on one proof: `unproven` if it did not complete, or has no check."""
    if proof.training is None or not proof.training.checks:
        return "unproven"
    return "same" if all(check.passed for check in proof.training.checks) else "differs"


def failed_checks(proof: TrialResult) -> tuple[TrainingCheck, ...]:
    """Return the failed checks of a proof."""
    return () if proof.training is None else tuple(each for each in proof.training.checks if not each.passed)


def training_proofs(report: Report) -> dict[str, TrialResult]:
    """Return the proofs of training of a report, by `variant_id`."""
    by_id = {proof.trial.id: proof for proof in report.training_proofs}
    found: dict[str, TrialResult] = {}
    # Seeds with and without roles, and other models of a checkpoint's name, have a proof each.
    ways = {
        (result.trial.variant_id, result.checkpoint.model_type, isinstance(result.trial.seed, int)): result
        for result in report.results
        if by_id and result.checkpoint is not None
    }
    for (variant, family, _), result in ways.items():
        proof = by_id.get(training_of(result.trial, family).id)
        # One that failed counts.
        if proof is not None and (variant not in found or training_verdict(found[variant]) == "same"):
            found[variant] = proof
    return found


def training_verdicts(report: Report) -> dict[str, TrainingVerdict]:
    """Return the verdict on each variant of a report, by `variant_id`."""
    proved = training_proofs(report)
    return {
        variant: training_verdict(proved[variant]) if variant in proved else "unproven"
        for variant in report.variants()
    }
