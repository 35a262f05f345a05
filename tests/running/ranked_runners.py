"""Runners for trials on several devices: each rank behaves as the seed of the trial asks. No torch."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness.model.job import RENDEZVOUS, Announce, Job, Progress, TrialStoppedError
from harness.model.results import TrialResult
from harness.model.seeds import number_of
from tests.running.runners import completed


def ranked(job: Job, announce: Announce) -> TrialResult:
    """Behaves as its seed says; completes for any other seed."""
    announce(Progress(phase="train", step=1, steps=2))
    rank = int(os.environ["RANK"])
    if behave := BEHAVIOURS.get(number_of(job.trial.seed, "init")):
        behave(rank)
    note = f"rank {rank} of {os.environ['WORLD_SIZE']}"
    Path(f"seen-{rank}").write_text(os.environ[RENDEZVOUS])
    _wait_for(*(f"seen-{each}" for each in range(job.trial.world_size)))
    sys.stdout.write(f"{note} was here\n")
    return completed(job).model_copy(update={"notes": (note,)})


def _wait_for(*names: str) -> None:
    while not all(Path(name).exists() for name in names):
        time.sleep(0.01)


def _kill_rank(number: int, sent: int = signal.SIGKILL) -> Callable[[int], None]:
    def behave(rank: int) -> None:
        if rank == number:
            os.kill(os.getpid(), sent)
        time.sleep(600)

    return behave


def _kill_one_of_three(rank: int) -> None:
    """The others meet that it has gone, as gloo tells them, before they could name it."""
    if rank == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("connection closed by peer")


def _fault(rank: int) -> None:
    if rank == 1:
        ctypes.string_at(0)
    time.sleep(600)


def _diverge_in_rank_1(rank: int) -> None:
    if rank == 1:
        raise TrialStoppedError("diverged", "the loss of step 3 is not finite")
    time.sleep(600)


def _lose_rank_1(rank: int) -> None:
    raise TrialStoppedError("oom", "no memory left") if rank == 1 else RuntimeError("connection closed")


def _fail_in_rank_0(rank: int) -> None:
    if rank == 0:
        raise ValueError("a bug of rank 0")
    time.sleep(600)


def _diverge_together(rank: int) -> None:
    raise TrialStoppedError("diverged", f"the loss of step 3 is not finite in rank {rank}")


def _leave_early(rank: int) -> None:
    if rank == 1:
        os._exit(0)
    time.sleep(600)


def _exit_with_a_code(rank: int) -> None:
    if rank == 1:
        os._exit(9)
    time.sleep(600)


def _hang(_rank: int) -> None:
    time.sleep(600)


BEHAVIOURS: dict[int, Callable[[int], None]] = {
    10: _kill_rank(1),
    11: _kill_rank(0),
    12: _kill_rank(1, signal.SIGTERM),
    13: _kill_one_of_three,
    14: _fault,
    20: _diverge_in_rank_1,
    21: _lose_rank_1,
    22: _fail_in_rank_0,
    23: _diverge_together,
    24: _leave_early,
    25: _exit_with_a_code,
    30: _hang,
}


def killed_once(job: Job, announce: Announce) -> TrialResult:
    """Loses rank 1 in the first attempt."""
    announce(Progress(phase="train", step=1, steps=2))
    if os.environ["RANK"] == "1" and not job.failures:
        os.kill(os.getpid(), signal.SIGKILL)
    if not job.failures:
        time.sleep(600)
    return completed(job)
