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
from harness.running.executor import Ended, Event
from harness.running.preflight import Machine
from harness.running.seams import Seams
from harness.running.workers.judging import Ending, judge
from harness.running.workers.trial_files import prepare_folder, result_left
from harness.running.workers.worker import work
from harness.store.trial_folder import keep_result


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
        judgement = judge(
            job,
            result_left(folder),
            Ending(code=code, refused=refused),
            phase="start",
            started=started,
            duration_s=0.0,
        )
        result = judgement.result
        self._ended.append(Ended(result if code == 0 else keep_result(folder, result)))

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
        executor=lambda _place, _grace_s: InProcess(runner, handed_over),
    )
