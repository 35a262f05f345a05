"""Compute the optimizer steps and learning rates of a training from its settings."""

from __future__ import annotations

import math

from harness.model.trial import Trial
from harness.model.values import Train


def optimizer_steps(trial: Trial, examples: int) -> int:
    """Return the optimizer steps of a training; an incomplete accumulation window is one step."""
    train = trial.train
    if train.max_steps > 0:
        return train.max_steps
    batches = math.ceil(examples / trial.batch_size)
    return train.num_train_epochs * math.ceil(batches / train.gradient_accumulation_steps)


def schedule_factor(train: Train, step: int, steps: int) -> float:
    """Return the factor on the learning rate at a step counted from 0, as in `get_scheduler`."""
    given = train.warmup_steps
    warmup = int(given) if given >= 1 else math.ceil(given * steps)
    if train.lr_scheduler_type == "constant":
        return 1.0
    if step < warmup:
        return step / warmup
    if train.lr_scheduler_type == "constant_with_warmup":
        return 1.0
    passed = (step - warmup) / max(1, steps - warmup)
    if train.lr_scheduler_type == "linear":
        return 1.0 - passed
    return 0.5 * (1.0 + math.cos(math.pi * passed))
