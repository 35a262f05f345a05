"""Say what became of a trial, from what its worker left behind and how its process ended."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import datetime

from harness.errors import StorageError
from harness.model.job import Job
from harness.model.measurements import Measurement, measured
from harness.model.results import TrialResult
from harness.model.status import STATUSES, Phase, StatusName


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker ended, as its parent saw it.

    `code` or `signal` is set where the process ended by itself or was killed. `overrun` is the limit it was
    stopped for. `lost` says why nothing is known of its process, `refused` why none was started.
    `interrupted` says that the whole run was being ended.
    """

    code: int | None = None
    signal: int | None = None
    max_rss_bytes: int = 0
    memory_ran_out: bool = False
    overrun: str | None = None
    lost: str | None = None
    refused: str | None = None
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """A trial's result, and whether another attempt could end otherwise."""

    result: TrialResult
    may_retry: bool


def judge(  # what is known of a trial's end has this many sides
    job: Job, left: TrialResult | str, ending: Ending, *, phase: Phase, started: datetime, duration_s: float
) -> Judgement:
    """Decide on a trial's result.

    A whole result of this very trial is taken at its word, however the process ended afterwards: it is the
    worker's last act.

    Args:
        job: what the worker was given.
        left: the result it left, or a sentence on why there is none that can be read.
        ending: how its process ended.
        phase: the last phase it announced.
        started: when it was given to a worker, UTC.
        duration_s: how long it took, in seconds of the monotonic clock.
    """
    if isinstance(left, TrialResult):
        if left.trial == job.trial and STATUSES[left.status].final:
            return Judgement(left, may_retry=False)
        left = f"it left the result of another trial, {left.trial.id}"
    status, reason = _what_became(ending, left)
    measurements: tuple[Measurement, ...] = ()
    if status == "oom":
        batch = job.trial.train.per_device_train_batch_size
        reason = f"out of memory on host at batch size {batch}: {reason}"
        if ending.max_rss_bytes:
            measurements = (measured("peak_memory_host_bytes", ending.max_rss_bytes),)
    result = TrialResult(
        trial=job.trial,
        status=status,
        phase=phase,
        reason=reason,
        measurements=measurements,
        started=started,
        duration_s=max(duration_s, 0.0),
    )
    # A worker that could not be started may start at the next attempt; its own failure would repeat.
    may_retry = STATUSES[status].retried or (status == "failed" and ending.refused is not None)
    return Judgement(result, may_retry)


def _what_became(ending: Ending, left: str) -> tuple[StatusName, str]:
    """Return status and reason of a trial whose worker left no result of its own."""
    known: tuple[tuple[StatusName, str, str | None], ...] = (
        ("failed", "no worker could be started: ", ending.refused),
        ("timeout", "", ending.overrun),
        ("killed", "", ending.lost),
    )
    if ending.interrupted:
        return "interrupted", "the run was interrupted"
    for status, before, reason in known:
        if reason is not None:
            return status, before + reason
    if ending.signal is None and ending.code == StorageError.exit_code:
        # Not the trial's fault: it runs again once there is space.
        return "killed", "its worker could not write its result"
    if ending.signal is None:
        return "failed", f"its worker ended with exit code {ending.code}: {left}"
    name = signal_name(ending.signal)
    if ending.signal == signal.SIGKILL and ending.memory_ran_out:
        return "oom", f"the system killed its worker ({name}) when memory ran out"
    return "killed", f"its worker was killed by {name}"


def signal_name(number: int) -> str:
    """`SIGSEGV` for 11; the number itself where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
