"""Runs without processes: the real run, its folders and its worker's steps, in milliseconds a trial."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.machine.facts import installed_torch
from harness.model.job import Job, RunTrial
from harness.model.results import TrialResult
from harness.running.executor import Event
from harness.running.preflight import Machine
from harness.running.seams import Seams
from harness.running.workers.judging import Attempt, Ended, exit_cause, judge, own_result
from harness.running.workers.worker import work
from harness.store.trial_folder import keep_result, prepare_folder, result_left


class InProcess:
    """An executor that does in this process what a worker and its parent do; `handed_over` sees each job."""

    def __init__(self, runner: RunTrial, handed_over: Callable[[Path], None] = lambda _folder: None) -> None:
        self._runner = runner
        self._handed_over = handed_over
        self._ended: list[Event] = []

    def submit(self, job: Job, folder: Path) -> None:
        started = datetime.now(UTC)
        refused = prepare_folder(folder, job)
        self._handed_over(folder)
        code = 0
        with contextlib.redirect_stderr(io.StringIO()):
            try:
                work(folder, self._runner, str)
            except Exception as error:  # as in a worker, whose exit code is all that is left of it
                code = getattr(error, "exit_code", 70)
        attempt, left = Attempt(job, folder, since=0.0, started=started), result_left(folder)
        if (own := own_result(attempt, left)) is not None:
            self._ended.append(Ended(own))
            return
        status, reason = exit_cause(code << 8, memory_ran_out=False)
        ended = judge(attempt, status, refused or reason, left, duration_s=0.0, started=refused is None)
        self._ended.append(Ended(keep_result(folder, ended.result)))

    def poll(self, timeout_s: float) -> Sequence[Event]:
        ended, self._ended = self._ended, []
        return ended

    def stop(self, grace_s: float) -> Sequence[TrialResult]:
        return ()


def in_process(runner: RunTrial, handed_over: Callable[[Path], None] = lambda _folder: None) -> Seams:
    """The seams of a run with that executor, on the CPU."""
    torch = installed_torch()
    return Seams(
        machine=lambda: Machine(("cpu",), torch),
        executor=lambda _setup, _grace_s: InProcess(runner, handed_over),
    )
