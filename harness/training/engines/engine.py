"""Training: what an engine is given, and the watch that ends a training whose numbers are not finite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from harness.model.job import TrialStoppedError
from harness.model.trial import Trial
from harness.training.batching import Batch
from harness.training.measuring.steps import StepMeter
from harness.training.padding import Collator


@dataclass(frozen=True, slots=True)
class Training:
    """All an engine needs. `epochs` has the batches of every epoch in their order.

    An engine trains `model` in place, opens and closes the meter's window around each epoch's steps, calls
    `meter.step` after each optimizer step, and `on_epoch_end(epoch, mean training loss)` outside of windows
    with the epoch counted from 1.

    Run compilation and CUDA-graph capture inside `compiling()`, so that they are timed separately. Capture
    passes over batches of one shape if the plan has at least `capture_from` of them: a capture costs about
    as much as four passes. `note` adds a sentence to the result's notes.
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

    def optimizer_steps(self) -> list[list[Sequence[Batch]]]:
        """The batches of every optimizer step of every epoch, several where gradients are accumulated."""
        size, left = self.trial.train.gradient_accumulation_steps, self.meter.steps
        epochs = []
        for epoch in self.epochs:
            steps = [epoch[start : start + size] for start in range(0, len(epoch), size)][:left]
            left -= len(steps)
            epochs.append(steps)
        return epochs


class FiniteWatch:
    """Remembers, on the device, the first step whose loss or gradient norm was not finite."""

    def __init__(self, device: torch.device) -> None:
        self._first = torch.full((), -1, dtype=torch.int64, device=device)
        self._in_gradient = torch.zeros((), dtype=torch.bool, device=device)

    def see(self, step: int, value: torch.Tensor, *, gradient: bool = False) -> None:
        """Look at a scalar of optimizer step `step`, counted from 1, without waiting for it."""
        new = ~torch.isfinite(value.detach()) & (self._first < 0)
        self._first = torch.where(new, step, self._first)
        if gradient:
            self._in_gradient = self._in_gradient | new

    def check(self) -> None:
        """Wait for the device and end the trial if anything seen was not finite.

        Raises:
            TrialStoppedError: `diverged`, naming the step.
        """
        step = int(self._first.item())
        if step >= 0:
            what = "gradient norm" if self._in_gradient.item() else "loss"
            raise TrialStoppedError(
                "diverged",
                f"the {what} of step {step} is not finite",
                hint="lower train.learning_rate, clip with train.max_grad_norm, or use a wider precision",
            )
