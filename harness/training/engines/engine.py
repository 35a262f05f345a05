"""Training: what an engine is given, and the record of its losses, which ends a training that diverges."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from statistics import fmean
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from harness.model.job import TrialStoppedError
from harness.model.trial import Trial
from harness.training.batching import Batch
from harness.training.measuring.steps import StepMeter
from harness.training.padding import Collator
from harness.training.resuming import State, StateFile


class LossRecord:
    """The losses of all batches and the gradient norms of all steps.

    They stay on the device until `check` waits for it, so that recording one costs a copy of a scalar.
    """

    def __init__(self) -> None:
        self._pending: list[torch.Tensor] = []
        self._places: list[tuple[int, bool]] = []
        self._losses: list[tuple[int, float]] = []
        self._of_epoch = 0

    def see(self, step: int, value: torch.Tensor, *, gradient: bool = False) -> None:
        """Record the loss of a batch, or the gradient norm, of optimizer step `step`, counted from 1."""
        self._pending.append(value.detach().clone())
        self._places.append((step, gradient))

    def check(self) -> None:
        """Wait for the device and end the trial if a recorded number is not finite.

        Raises:
            TrialStoppedError: `diverged`, naming the first such step.
        """
        values = torch.stack(self._pending).tolist() if self._pending else []
        places, self._pending, self._places = self._places, [], []
        for (step, gradient), value in zip(places, values, strict=True):
            if not math.isfinite(value):
                raise TrialStoppedError(
                    "diverged",
                    f"the {'gradient norm' if gradient else 'loss'} of step {step} is not finite",
                    hint="lower train.learning_rate, clip with train.max_grad_norm, or use a wider precision",
                )
            if not gradient:
                self._losses.append((step, value))

    @property
    def last(self) -> float:
        """The newest loss, after `check`."""
        self.check()
        return self._losses[-1][1]

    def end_epoch(self) -> float:
        """Check, and return the mean loss of the batches since the last epoch ended."""
        self.check()
        losses = [loss for _, loss in self._losses[self._of_epoch :]]
        self._of_epoch = len(self._losses)
        return fmean(losses)

    def state(self) -> State:
        """Return the losses so far, for `restore`."""
        self.check()
        return {"losses": list(self._losses), "of_epoch": self._of_epoch}

    def restore(self, state: State) -> None:
        """Continue with the losses of an earlier process."""
        self._losses, self._of_epoch = [(step, loss) for step, loss in state["losses"]], state["of_epoch"]

    def by_step(self) -> list[float]:
        """Return the mean loss of the batches of each optimizer step, in order."""
        return [fmean(loss for _, loss in batches) for _, batches in groupby(self._losses, itemgetter(0))]


@dataclass(frozen=True, slots=True)
class Resuming:
    """The file of a training's state, and what is in it besides the engine's own part.

    Args:
        file: where the state is kept.
        state: returns the part of what surrounds the engine.
        restore: takes that part of an earlier process.
    """

    file: StateFile
    state: Callable[[], State]
    restore: Callable[[State], None]


@dataclass(frozen=True, slots=True)
class Training:
    """All an engine needs. `epochs` has the batches of every epoch in their order.

    An engine trains `model` in place, opens and closes the meter's window around each epoch's steps, calls
    `meter.step` after each optimizer step, and `on_epoch_end(epoch, mean training loss)` outside of windows
    with the epoch counted from 1.

    Run compilation and CUDA-graph capture inside `compiling()`, so that they are timed separately. Capture
    passes over batches of one shape if the plan has at least `capture_from` of them: a capture costs about
    as much as four passes. `note` adds a sentence to the result's notes. `record` sees the loss of every
    batch and every gradient norm. `resuming` keeps the state of a training that may be interrupted.
    """

    trial: Trial
    model: PreTrainedModel
    device: torch.device
    collator: Collator
    epochs: Sequence[Sequence[Batch]]
    meter: StepMeter
    on_epoch_end: Callable[[int, float], None]
    compiling: Callable[[], AbstractContextManager[None]] = nullcontext
    capture_from: int = 8
    note: Callable[[str], None] = lambda _text: None
    record: LossRecord = field(default_factory=LossRecord)
    resuming: Resuming | None = None

    def loss_of(self, forward: Callable[..., Any], inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the mean loss of a batch by a forward pass, with label smoothing where it is set."""
        smoothing = self.trial.train.label_smoothing_factor
        if not smoothing:
            loss: torch.Tensor = forward(**inputs).loss
            return loss
        logits = forward(**{name: tensor for name, tensor in inputs.items() if name != "labels"}).logits
        return functional.cross_entropy(logits.float(), inputs["labels"], label_smoothing=smoothing)

    def optimizer_steps(self) -> list[list[Sequence[Batch]]]:
        """The batches of every optimizer step of every epoch, several where gradients are accumulated."""
        size, left = self.trial.train.gradient_accumulation_steps, self.meter.steps
        epochs = []
        for epoch in self.epochs:
            steps = [epoch[start : start + size] for start in range(0, len(epoch), size)][:left]
            left -= len(steps)
            epochs.append(steps)
        return epochs
