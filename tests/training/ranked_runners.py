"""Runners for real trials on several devices: one records every step, in one a rank dies."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from harness.model.job import Announce, Job
from harness.model.results import TrialResult
from harness.training.engines.engine import LossRecord
from harness.training.run_trial import run_trial, warm

__all__ = ["dying", "recorded", "warm"]


def recorded(job: Job, announce: Announce) -> TrialResult:
    """Train, and leave the loss and the gradient norm of every step in `steps.json`, as rank 0 sees them."""
    see = LossRecord.see
    found: dict[str, list[float]] = {"loss": [], "norm": []}

    def note(self: LossRecord, step: int, value: Any, *, gradient: bool = False) -> None:
        found["norm" if gradient else "loss"].append(float(value))
        see(self, step, value, gradient=gradient)

    LossRecord.see = note  # type: ignore[method-assign] # in a process that runs one trial
    result = run_trial(job, announce)
    if os.environ.get("RANK", "0") == "0":
        Path("steps.json").write_text(json.dumps(found))
    return result


def dying(job: Job, announce: Announce) -> TrialResult:
    """Train, and kill rank 1 in its third step, between two sums with the others."""
    see = LossRecord.see

    def note(self: LossRecord, step: int, value: Any, *, gradient: bool = False) -> None:
        if os.environ.get("RANK") == "1" and step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        see(self, step, value, gradient=gradient)

    LossRecord.see = note  # type: ignore[method-assign] # in a process that runs one trial
    return run_trial(job, announce)
