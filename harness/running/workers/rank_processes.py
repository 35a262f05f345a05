"""The processes of a trial on several devices: the worker is rank 0, and forks the others.

Every rank runs the same runner on the same job, told apart by the environment variables of `torchrun` (RANK,
LOCAL_RANK, WORLD_SIZE); the result is rank 0's. The ranks belong to the worker's session and end with it, so
that a signal to its group ends them all. They are forked before anything has touched a device.

A rank that ends early would leave the others waiting for it: a thread of rank 0 then ends the trial. A rank
that raised gives its reason to the trial's result. For one that a signal ended, rank 0 writes
`lost_rank.json` and kills itself, so that the watcher of the worker decides as for a worker that was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from harness.model.job import RENDEZVOUS, Announce, Job, RunTrial, TrialStoppedError
from harness.model.results import TrialResult
from harness.model.status import StatusName
from harness.running.workers.descendants import die_with_parent
from harness.store.trial_folder import LOST_RANK, LostRank

# Ranks that lose one another end within moments: of several the first cause is looked for this long.
_SETTLE_SECONDS: Final = 2.0
# After the last moment that they wait for each other, ranks only have to end.
_FINISH_SECONDS: Final = 10.0
_READ_BYTES: Final = 2**16

Describe = Callable[[BaseException], tuple[StatusName, str]]
"""Gives the status and the reason that an error means for a trial."""


@dataclass(slots=True)
class _Rank:
    """A rank above 0: its process, the reading end of its report, and how it ended, as of `os.wait`."""

    number: int
    pid: int
    report: int
    written: bytes = b""
    status: int | None = None

    @property
    def signal(self) -> int:
        """The signal that ended it; 0 for none."""
        return os.WTERMSIG(self.status) if self.status is not None and os.WIFSIGNALED(self.status) else 0

    def cause(self) -> tuple[StatusName, str]:
        """The status and reason that it reported."""
        if not self.written:
            code = os.waitstatus_to_exitcode(self.status or 0)
            return "failed", f"rank {self.number} ended before the others, with exit code {code}"
        status, reason = json.loads(self.written)
        return status, f"rank {self.number}: {reason}"


def run_together(
    runner: RunTrial,
    job: Job,
    announce: Announce,
    *,
    describe: Describe,
    end: Callable[[StatusName, str], None],
) -> TrialResult:
    """Run the job in as many processes as its trial's `world_size`, this one included; return its result.

    Args:
        runner: what each rank runs.
        job: its trial has a `world_size` above 1.
        announce: told the progress of rank 0.
        describe: of an error of another rank.
        end: writes the result of the trial where another rank has failed; this process exits after it.
    """
    _set_rank(0, job.trial.world_size)
    os.environ[RENDEZVOUS] = str(Path(tempfile.mkdtemp(prefix="ranks-")) / "store")
    watch = _Watch(end)
    for number in range(1, job.trial.world_size):
        watch.ranks.append(_fork_rank(number, runner, job, describe))
    watch.start()
    try:
        result = runner(job, announce)
    except TrialStoppedError:
        # Its own reason, which other ranks may have met too.
        watch.claim()
        raise
    except BaseException:
        watch.wait_for_cause()
        raise
    watch.finish()
    return result


def _set_rank(number: int, world_size: int) -> None:
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(world_size)}


def _fork_rank(number: int, runner: RunTrial, job: Job, describe: Describe) -> _Rank:
    report, write_to = os.pipe()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent(parent)
            os.close(report)
            _set_rank(number, job.trial.world_size)
        except BaseException:
            os._exit(71)
        _run_rank(number, runner, job, describe, write_to)
    os.close(write_to)
    return _Rank(number, pid, report)


def _run_rank(number: int, runner: RunTrial, job: Job, describe: Describe, write_to: int) -> NoReturn:
    code = 70
    try:
        runner(job, lambda _progress: None)
        code = 0
    except BaseException as error:  # every end of a rank is reported
        # First, as rank 0 meets its loss meanwhile, and printing reads the source files.
        os.write(write_to, json.dumps(describe(error)).encode())
        sys.stderr.write(f"rank {number} of {job.trial.world_size}:\n")
        traceback.print_exception(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


class _Watch:
    """Waits for ranks to end, in a thread, and ends the trial if one does before rank 0 has its result.

    Whoever takes `_decides` ends the trial: rank 0 with its result or its own error, or the thread.
    """

    def __init__(self, end: Callable[[StatusName, str], None]) -> None:
        self._end = end
        self.ranks: list[_Rank] = []
        self._running: dict[int, _Rank] = {}
        self._poll = select.poll()
        self._decides = threading.Lock()
        self._rank_0_ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ranks", daemon=True)

    def start(self) -> None:
        """Begin to wait for the ranks."""
        self._running = {rank.report: rank for rank in self.ranks}
        for report in self._running:
            self._poll.register(report, select.POLLIN)
        self._thread.start()

    def claim(self) -> None:
        """Let rank 0 end the trial. It does not return once another rank ends it."""
        self._decides.acquire()
        self._rank_0_ends.set()

    def wait_for_cause(self) -> None:
        """Let rank 0 end the trial by its own error, unless another rank has ended, perhaps as its cause."""
        time.sleep(_SETTLE_SECONDS)
        if any(rank.written or rank.status is not None for rank in self.ranks):
            self._thread.join()
        self.claim()
        self._kill()

    def finish(self) -> None:
        """Wait until the other ranks have ended, as they do once rank 0 has its result."""
        self.claim()
        self._thread.join(_FINISH_SECONDS)
        self._kill()

    def _run(self) -> None:
        while len(self._running) == len(self.ranks):
            self._hear(None)
        began = time.monotonic()
        self._hear_until(began + _SETTLE_SECONDS)
        if not self._lost():
            # A rank that has ended well leaves the others waiting, unless rank 0 is about to end too.
            self._hear_until(began + _FINISH_SECONDS)
            left_s = max(0.0, began + _FINISH_SECONDS - time.monotonic())
            if not self._lost() and self._rank_0_ends.wait(left_s):
                return
        if self._decides.acquire(blocking=False):
            ended = [rank for rank in self.ranks if rank.status is not None]
            lost = self._lost() or ended
            # What a signal has ended is the cause of what the others then met.
            self._end_as(next((rank for rank in lost if rank.signal), lost[0]))

    def _lost(self) -> list[_Rank]:
        return [rank for rank in self.ranks if rank.status]

    def _hear_until(self, until: float) -> None:
        while self._running and (left_s := until - time.monotonic()) > 0:
            self._hear(left_s)

    def _hear(self, timeout_s: float | None) -> None:
        """Read what ranks report, and note those that have ended."""
        for report, _ in self._poll.poll(None if timeout_s is None else timeout_s * 1_000):
            rank = self._running[report]
            if data := os.read(report, _READ_BYTES):
                rank.written += data
                continue
            self._poll.unregister(report)
            _, rank.status = os.waitpid(rank.pid, 0)
            del self._running[report]

    def _end_as(self, rank: _Rank) -> NoReturn:
        self._kill()
        try:
            if not rank.signal:
                self._end(*rank.cause())
                os._exit(0)
            lost = LostRank(rank=rank.number, signal=rank.signal)
            Path(LOST_RANK).write_text(lost.model_dump_json(), encoding="utf-8")
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
            os._exit(70)

    def _kill(self) -> None:
        for rank in self.ranks:
            if rank.status is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rank.pid, signal.SIGKILL)
