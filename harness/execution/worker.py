"""What a worker does with a trial: run it, say where it is, and write its result as the last act."""

from __future__ import annotations

import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.execution.trial_files import JOB, PROGRESS
from harness.job import Job, Progress, RunTrial, TrialStoppedError
from harness.results.models import Measurement, Phase, TrialResult, measured
from harness.results.trial_folder import write_result

# Given back when memory has run out, so that there is some left to say so with.
_BALLAST_BYTES: Final = 4 * 2**20
_LONGEST_REASON: Final = 500


class ProgressFile:
    """Appends progress lines to a file, whose growth is the heartbeat. `phase` is the last announced."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
        )
        self.phase: Phase = "start"

    def announce(self, progress: Progress) -> None:
        """Write one line. It is never synchronised: a line lost with the machine is no loss."""
        self.phase = progress.phase
        os.write(self._file, progress.model_dump_json().encode() + b"\n")


def work(folder: Path, runner: RunTrial, redact: Callable[[str], str]) -> None:
    """Run the job in a trial's folder and write `result.json` there, whatever becomes of it.

    Args:
        folder: the trial's folder, which holds its `job.json`.
        runner: what runs a trial.
        redact: takes secrets out of the text of an exception.
    """
    job = Job.model_validate_json((folder / JOB).read_bytes())
    progress = ProgressFile(folder / PROGRESS)
    started, clock = datetime.now(UTC), time.monotonic()
    ballast = bytearray(_BALLAST_BYTES)
    try:
        result = _checked(runner(job, progress.announce), job)
    except BaseException as error:  # a worker says how it ended whatever ends it
        del ballast
        traceback.print_exception(error)
        traceback.clear_frames(error.__traceback__)
        result = _result_of(error, job, progress.phase, redact).model_copy(
            update={"started": started, "duration_s": time.monotonic() - clock}
        )
    write_result(folder, result)


def _checked(result: object, job: Job) -> TrialResult:
    if not isinstance(result, TrialResult):
        raise TrialStoppedError("failed", f"the runner returned {type(result).__name__}, not a result")
    if result.trial != job.trial:
        raise TrialStoppedError("failed", f"the runner returned the result of trial {result.trial.id}")
    return result


def _result_of(error: BaseException, job: Job, phase: Phase, redact: Callable[[str], str]) -> TrialResult:
    """The result of a trial that raised; its times are filled in by the caller."""
    measurements: tuple[Measurement, ...] = ()
    if isinstance(error, TrialStoppedError):
        status, reason = error.status, str(error)
    elif _is_out_of_memory(error):
        batch, peak = job.trial.train.per_device_train_batch_size, _peak_host_bytes()
        where = "host" if isinstance(error, MemoryError) else job.trial.device
        status = "oom"
        reason = f"out of memory on {where} at batch size {batch}: {_last_line(error)}"
        measurements = (measured("peak_memory_host_bytes", peak),)
    else:
        status, reason = "failed", _last_line(error)
    return TrialResult(
        trial=job.trial,
        status=status,
        phase=phase,
        reason=redact(reason)[:_LONGEST_REASON],
        measurements=measurements,
        started=datetime.now(UTC),
        duration_s=0.0,
    )


def _is_out_of_memory(error: BaseException) -> bool:
    """By name, since torch is not imported here: its own class, and the text of allocators without one."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in str(error).lower() or "can't allocate memory" in str(error))
    )


def _last_line(error: BaseException) -> str:
    lines = "".join(traceback.format_exception_only(error)).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def _peak_host_bytes() -> int:
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
