"""Run a trial in a worker: announce its progress, and write its result as the last act."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from harness.errors import HarnessError
from harness.machine.facts import describe_environment, physical_cores
from harness.model.job import Job, Progress, RunTrial, TrialStoppedError
from harness.model.measurements import Measurement, measured
from harness.model.results import TrialResult
from harness.model.status import STATUSES, Phase, StatusName
from harness.running.workers.rank_processes import run_together
from harness.store.trial_folder import PROGRESS, STATE, read_job, write_result

# The status that a worker itself gives only to a trial that found the disk full: it runs again later.
DISK_FULL: Final[StatusName] = "killed"
# Released when memory has run out, so that the result can be written. Nothing is written to it: a limit on
# address space counts it untouched, and touching it would take 2 ms of each trial.
_BALLAST_BYTES: Final = 4 * 2**20
_LONGEST_REASON: Final = 500
EVERY_SECONDS: Final = 0.05


class ProgressFile:
    """Appends progress lines to a file, whose growth is the heartbeat. `phase` is the last announced.

    Within a phase at most one line in `EVERY_SECONDS` is written, and the last step's: a file that grows with
    every step of a fast trial would be larger than its result.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
        )
        self.phase: Phase = "start"
        self._last = -EVERY_SECONDS

    def announce(self, progress: Progress) -> None:
        """Write one line. It is never synchronised: a line lost with the machine is no loss."""
        now = time.monotonic()
        begins = progress.phase != self.phase
        ends = 0 < progress.steps <= progress.step
        self.phase = progress.phase
        if not begins and not ends and now - self._last < EVERY_SECONDS:
            return
        self._last = now
        # On a full disk the trial goes on: a lost line is only a missing sign of life.
        with contextlib.suppress(OSError):
            os.write(self._file, progress.model_dump_json().encode() + b"\n")

    def close(self) -> None:
        """Close the file; progress announced later is dropped, and cannot reach a reused descriptor."""
        descriptor, self._file = self._file, -1
        with contextlib.suppress(OSError):  # a trial's own code may have closed it
            os.close(descriptor)


def work(folder: Path, runner: RunTrial, redact: Callable[[str], str]) -> None:
    """Run the job in a trial's folder and write `result.json` there, however the trial ends.

    Args:
        folder: the trial's folder, with its `job.json`.
        runner: runs a trial.
        redact: takes secrets out of reasons.
    """
    job = read_job(folder).model_copy(update={"folder": str(folder)})
    progress = ProgressFile(folder / PROGRESS)
    started, clock = datetime.now(UTC), time.monotonic()
    ballast = mmap.mmap(-1, _BALLAST_BYTES, flags=mmap.MAP_PRIVATE)

    # Described before the trial: after it there may be no memory left to do so.
    environment = describe_environment(threads=job.measure.threads or physical_cores())

    def ended(status: StatusName, reason: str, measurements: tuple[Measurement, ...] = ()) -> TrialResult:
        return job.completed_by(
            TrialResult(
                trial=job.trial,
                status=status,
                phase=progress.phase,
                reason=readable(reason),
                measurements=measurements,
                environment=environment,
                started=started,
                duration_s=time.monotonic() - clock,
            )
        )

    def readable(reason: str) -> str:
        return _writable(redact(reason))[:_LONGEST_REASON]

    def described(error: BaseException) -> tuple[StatusName, str]:
        status, reason, _ = _what_happened(error, job)
        return status, readable(reason)

    if job.trial.world_size > 1:
        runner = partial(
            run_together,
            runner,
            describe=described,
            end=lambda status, reason: write_result(folder, ended(status, reason)),
        )
    try:
        result = job.completed_by(_checked(runner(job, progress.announce), job))
        if result.status != "completed":
            found = readable(result.reason or "it gave no reason")
            result = result.model_copy(
                update={"reason": found, "environment": result.environment or environment}
            )
    except BaseException as error:  # every end of a trial becomes a result
        ballast.close()
        traceback.print_exception(error)
        traceback.clear_frames(error.__traceback__)
        result = ended(*_what_happened(error, job))
    finally:
        progress.close()
    try:
        write_result(folder, result)
    except ValueError as error:
        # NaN or invalid text: the runner's result cannot be written as JSON.
        traceback.print_exception(error)
        write_result(folder, ended("failed", f"its result cannot be written: {error}"))
    if result.status != DISK_FULL:
        with contextlib.suppress(OSError):
            (folder / STATE).unlink(missing_ok=True)


def _checked(result: object, job: Job) -> TrialResult:
    if not isinstance(result, TrialResult):
        raise TrialStoppedError("failed", f"the runner returned {type(result).__name__}, not a result")
    if result.trial != job.trial:
        raise TrialStoppedError("failed", f"the runner returned the result of trial {result.trial.id}")
    if not STATUSES[result.status].final:
        raise TrialStoppedError("failed", f"the runner returned a result that is {result.status}")
    return result


def _what_happened(error: BaseException, job: Job) -> tuple[StatusName, str, tuple[Measurement, ...]]:
    """Return status, reason and what can still be measured of a trial that raised."""
    if isinstance(error, TrialStoppedError):
        return error.status, error.one_line, ()
    if _is_disk_full(error):
        return DISK_FULL, f"there is no space left to write to: {_last_line(error)}", ()
    if not _is_out_of_memory(error):
        return "failed", _last_line(error), ()
    where = "host" if isinstance(error, MemoryError) else job.trial.device
    batch = job.trial.train.per_device_train_batch_size
    reason = f"out of memory on {where} at batch size {batch}: {_last_line(error)}"
    return "oom", reason, (measured("peak_memory_host_bytes", _peak_host_bytes()),)


def _is_out_of_memory(error: BaseException) -> bool:
    """By name, since torch is not imported here: its own class, and the text of allocators without one."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in str(error).lower() or "can't allocate memory" in str(error))
    )


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether it was raised for want of space, or because of something that was.

    safetensors and tokenizers raise errors that are no OSError, and end their texts as Rust does.
    """
    full = (errno.ENOSPC, errno.EDQUOT)
    while error is not None:
        if isinstance(error, OSError) and error.errno in full:
            return True
        if str(error).endswith(tuple(f"(os error {number})" for number in full)):
            return True
        error = error.__cause__
    return False


def _last_line(error: BaseException) -> str:
    if isinstance(error, HarnessError):
        # Its last line is what to do next.
        return error.message
    lines = "".join(traceback.format_exception_only(error)).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def _writable(text: str) -> str:
    """Return the text without lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode()


def _peak_host_bytes() -> int:
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
