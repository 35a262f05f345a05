"""Workers that take no time and return results of two sizes, so that all that is left is our own work."""

from __future__ import annotations

from typing import Final

from harness.model.job import Announce, Job, Progress
from harness.model.results import TrialResult
from tests.factories import make_measurements, make_predictions
from tests.running.runners import completed

# What one epoch of MRPC at batch 8 leaves behind: 458 steps, 408 pairs of logits.
_PREDICTIONS: Final = make_predictions(examples=408)
_MEASUREMENTS: Final = make_measurements(_PREDICTIONS, steps=458)


def small(job: Job, announce: Announce) -> TrialResult:
    """A result of 14 steps and 40 examples: 8 KB in its file."""
    announce(Progress(phase="train", step=1, steps=1))
    return completed(job)


def full(job: Job, announce: Announce) -> TrialResult:
    """A result as large as that of one epoch of MRPC: 30 KB in its file."""
    announce(Progress(phase="train", step=1, steps=1))
    return completed(job).model_copy(update={"predictions": _PREDICTIONS, "measurements": _MEASUREMENTS})
