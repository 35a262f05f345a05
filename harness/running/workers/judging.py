"""Decide how an attempt at a trial ended, from what its worker left behind and how its process ended."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import StorageError
from harness.model.environment import Environment
from harness.model.job import Job
from harness.model.measurements import measured
from harness.model.results import TrialResult
from harness.model.status import STATUSES, Phase, StatusName


@dataclass(slots=True, eq=False)
class Attempt:
    """An attempt at a trial that runs somewhere.

    `since` is in seconds of the monotonic clock, `started` in UTC; `phase` is the last that was announced.
    """

    job: Job
    folder: Path
    since: float
    phase: Phase = "start"
    started: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Ended:
    """A trial has ended. `may_retry` tells whether another attempt could end otherwise."""

    result: TrialResult
    may_retry: bool = False


def own_result(attempt: Attempt, left: TrialResult | str) -> TrialResult | None:
    """The worker's own result, which counts however its process ended afterwards: it is its last act."""
    # A status that is not final is for a parent to give.
    if isinstance(left, TrialResult) and left.trial == attempt.job.trial and STATUSES[left.status].final:
        return left
    return None


def exit_cause(wait_status: int, *, memory_ran_out: bool, who: str = "its worker") -> tuple[StatusName, str]:
    """Return status and reason of a trial whose worker ended without a result.

    Args:
        wait_status: as of `os.wait`.
        memory_ran_out: whether the system was short of memory.
        who: the process that ended first.
    """
    if not os.WIFSIGNALED(wait_status):
        code = os.waitstatus_to_exitcode(wait_status)
        if code == StorageError.exit_code:
            # Not the trial's fault: it runs again once there is space.
            return "killed", "its worker could not write its result"
        return "failed", f"its worker ended with exit code {code}"
    name = signal_name(os.WTERMSIG(wait_status))
    if name == "SIGKILL" and memory_ran_out:
        return "oom", f"the system killed {who} ({name}) when memory ran out"
    return "killed", f"{who} was killed by {name}"


def judge(  # noqa: PLR0913 - what is known of a trial's end has this many sides
    attempt: Attempt,
    status: StatusName,
    reason: str,
    left: TrialResult | str,
    *,
    duration_s: float,
    started: bool = True,
    peak_bytes: int = 0,
    environment: Environment | None = None,
) -> Ended:
    """Return the row of a trial whose worker left no result.

    Args:
        attempt: the attempt that has ended.
        status: why it ended.
        reason: the same as a sentence.
        left: a sentence on why no result can be read, or the result of another trial.
        duration_s: how long it took, in seconds of the monotonic clock.
        started: whether a worker was started at all.
        peak_bytes: the largest size of the worker's process; 0 if unknown.
        environment: where it ran; None if unknown.
    """
    job = attempt.job
    if not started:
        reason = f"no worker could be started: {reason}"
    elif status == "failed":
        reason = f"{reason}: {_unread(left)}"
    elif status == "oom":
        batch = job.trial.train.per_device_train_batch_size
        reason = f"out of memory on host at batch size {batch}: {reason}"
    peak = (measured("peak_memory_host_bytes", peak_bytes),) if status == "oom" and peak_bytes else ()
    result = TrialResult(
        trial=job.trial,
        status=status,
        phase=attempt.phase,
        reason=reason,
        measurements=peak,
        environment=environment,
        started=attempt.started,
        duration_s=max(duration_s, 0.0),
    )
    # Causes outside the worker may be gone next time; a failure of its code would repeat.
    return Ended(job.completed_by(result), may_retry=STATUSES[status].retried or not started)


def _unread(left: TrialResult | str) -> str:
    if isinstance(left, str):
        return left
    return f"it left the result of another trial, {left.trial.id}, or one that is {left.status}"


def signal_name(number: int) -> str:
    """`SIGSEGV` for 11; the number itself where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
