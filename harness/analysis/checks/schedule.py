"""Compute the optimizer steps and learning rates of a training from its settings."""

from __future__ import annotations

import math

from harness.model.arguments import SchedulerKwargs, Shape, Train
from harness.model.trial import Trial


def optimizer_steps(trial: Trial, examples: int) -> int:
    """Return the optimizer steps of a training; an incomplete accumulation window is one step."""
    train = trial.train
    if train.max_steps > 0:
        return train.max_steps
    batches = math.ceil(examples / trial.batch_size)
    return train.num_train_epochs * math.ceil(batches / train.gradient_accumulation_steps)


def schedule_factor(train: Train, step: int, steps: int) -> float:
    """Return the factor on the learning rate at a step counted from 0, as in `get_scheduler`.

    Args:
        train: The settings, of which `settings_problem` finds none wrong.
        step: The optimizer step.
        steps: All optimizer steps of the training.
    """
    given = train.warmup_steps
    warmup = int(given) if given >= 1 else math.ceil(given * steps)
    kind, options = train.lr_scheduler_type, train.lr_scheduler_kwargs or SchedulerKwargs()
    if kind == "constant":
        return 1.0
    if step < warmup:
        return _warming(train, options, step, warmup)
    if kind == "constant_with_warmup":
        return 1.0
    if kind == "inverse_sqrt":
        timescale = options.timescale or warmup or 10_000
        return math.sqrt(timescale / (step - warmup + timescale))
    if kind == "warmup_stable_decay":
        return _stable_and_decay(options, step - warmup, steps - warmup)
    span = max(1, steps - warmup)
    return _decay(train, options, (step - warmup) / span, 1 / span)


def _decay(train: Train, options: SchedulerKwargs, passed: float, one_step: float) -> float:
    """The factor after warm-up: `passed` is the share of the steps since then, `one_step` that of one."""
    kind = train.lr_scheduler_type
    if kind == "linear":
        return 1.0 - passed
    if kind == "polynomial":
        end = (1e-7 if options.lr_end is None else options.lr_end) / train.learning_rate
        return end + (1.0 - end) * math.pow(1.0 - passed, options.power or 1.0)
    if kind == "cosine_with_restarts":
        return _half_wave((options.num_cycles or 1.0) * passed % 1.0) if passed < 1.0 else 0.0
    if kind == "cosine_warmup_with_min_lr":
        passed += one_step
    lowest = 0.0
    if kind in ("cosine_with_min_lr", "cosine_warmup_with_min_lr"):
        lowest = _lowest(train, options)
    return _above(lowest, _half_wave(2.0 * (options.num_cycles or 0.5) * passed))


def _warming(train: Train, options: SchedulerKwargs, step: int, warmup: int) -> float:
    """The factor before `warmup` steps are done."""
    if train.lr_scheduler_type == "cosine_warmup_with_min_lr":
        first = options.warmup_lr_rate
        return (step + 1) / warmup if first is None else _above(first, step / max(1, warmup - 1))
    if train.lr_scheduler_type == "warmup_stable_decay":
        rising = _falling(options.warmup_type or "linear", 1.0 - step / warmup, 0.5)
        return _above(options.min_lr_ratio or 0.0, rising)
    return step / warmup


def _stable_and_decay(options: SchedulerKwargs, done: int, left: int) -> float:
    """The factor of `warmup_stable_decay`: `done` steps after warm-up, of `left` steps."""
    decay, lowest = options.num_decay_steps or 0, options.min_lr_ratio or 0.0
    stable = left - decay if options.num_stable_steps is None else options.num_stable_steps
    if done < stable:
        return 1.0
    if done >= stable + decay:
        return lowest
    passed = (done - stable) / decay
    return _above(lowest, _falling(options.decay_type or "cosine", passed, options.num_cycles or 0.5))


def _falling(shape: Shape, passed: float, cycles: float) -> float:
    """A curve from 1 to 0 as `passed` goes from 0 to 1; with other `cycles` a cosine of as many waves."""
    if shape == "linear":
        return 1.0 - passed
    return 1.0 - math.sqrt(passed) if shape == "1-sqrt" else _half_wave(2.0 * cycles * passed)


def _half_wave(passed: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * passed))


def _above(lowest: float, factor: float) -> float:
    """The factor between `lowest` and 1, never below 0."""
    return max(0.0, lowest + (1.0 - lowest) * factor)


def _lowest(train: Train, options: SchedulerKwargs) -> float:
    if options.min_lr is not None:
        return options.min_lr / train.learning_rate
    return options.min_lr_rate or 0.0
