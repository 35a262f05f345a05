"""A runner that counts how often its process was warmed; that fails for seed 1, and hangs for seed 9.

With seed 5 a trial kills the process that forked it.
"""

from __future__ import annotations

import os
import signal
import time

from harness.model.job import Announce, Job
from harness.model.results import TrialResult
from harness.model.seeds import number_of
from tests.running.runners import completed

warmed: list[tuple[int, int]] = []


def warm(job: Job) -> None:
    """Remember the process and the trial's seed."""
    if job.trial.seed == 9:
        time.sleep(600)
    if job.trial.seed == 1:
        raise RuntimeError("no such checkpoint")
    warmed.append((os.getpid(), number_of(job.trial.seed, "init")))


def run(job: Job, announce: Announce) -> TrialResult:
    """Say for which seeds the process above this one was warmed, and that this one was not."""
    assert {pid for pid, _ in warmed} <= {os.getppid()}
    if job.trial.seed == 5:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    seeds = ", ".join(str(seed) for _, seed in warmed)
    return completed(job).model_copy(update={"notes": (f"warmed for {seeds}",)})
