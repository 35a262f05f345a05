"""How many optimizer steps a training takes, and at which learning rates, from its settings alone."""

from __future__ import annotations

import math

from harness.model.trial import Train


def optimizer_steps(train: Train, examples: int) -> int:
    """Optimizer steps of a whole training on that many examples; an incomplete accumulation window is one."""
    if train.max_steps > 0:
        return train.max_steps
    batches = math.ceil(examples / train.per_device_train_batch_size)
    return train.num_train_epochs * math.ceil(batches / train.gradient_accumulation_steps)


def schedule_factor(train: Train, step: int, steps: int) -> float:
    """The factor on the learning rate at a step counted from 0, of so many, as `get_scheduler` defines it."""
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
