"""The time limits of a trial: over all, until its first sign of life, and between signs of life."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.suite import Measure


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a trial may take, in seconds: in all, until its first progress, and without new progress."""

    trial_s: float | None
    start_s: float
    stall_s: float


def limits_of(measure: Measure) -> Limits:
    """The limits that a suite sets."""
    return Limits(measure.trial_timeout_seconds, measure.start_timeout_seconds, measure.stall_timeout_seconds)


def overrun(limits: Limits, *, elapsed_s: float, silent_s: float, heard: bool) -> str | None:
    """Which limit a running trial is beyond, as a sentence; None while it is within all of them.

    Args:
        limits: the trial's limits.
        elapsed_s: since it was given to a worker.
        silent_s: since it last said something.
        heard: whether it has said anything yet.
    """
    if limits.trial_s is not None and elapsed_s > limits.trial_s:
        return f"took longer than trial_timeout_seconds = {limits.trial_s:g}"
    if not heard and elapsed_s > limits.start_s:
        return f"showed no progress within start_timeout_seconds = {limits.start_s:g}"
    if heard and silent_s > limits.stall_s:
        return f"made no progress for stall_timeout_seconds = {limits.stall_s:g}"
    return None
