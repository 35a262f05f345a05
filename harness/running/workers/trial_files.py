"""The files in a trial's folder: what passes through them between parent and worker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from harness.errors import HarnessError
from harness.foreign import read_regular
from harness.model.job import Job
from harness.model.results import TrialResult
from harness.store.folders import is_real_folder
from harness.store.trial_folder import read_result
from harness.store.writing import storage_error, to_json

JOB: Final = "job.json"
PROGRESS: Final = "progress.jsonl"
LOG: Final = "log"
RESULT: Final = "result.json"
_LARGEST_JOB_BYTES: Final = 2**24


def prepare_folder(folder: Path, job: Job) -> str | None:
    """Remove what an earlier attempt left, and write the job; return why that is not possible, or None.

    The job is not synchronised: it is a message to the worker that is about to read it, and means nothing
    later.

    Raises:
        StorageError: the operating system refused a step, as it will for the next trial.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        for name in (RESULT, PROGRESS, LOG, JOB):
            (folder / name).unlink(missing_ok=True)
        with os.fdopen(os.open(folder / JOB, flags, 0o666), "wb") as file:
            file.write(to_json(job))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        # Somebody works in this folder: no fault of the disk's.
        return f"its folder cannot be prepared: {error.strerror}: {error.filename}"
    except OSError as error:
        raise storage_error(error, f"cannot write {folder / JOB}") from error
    return None


def read_job(folder: Path) -> Job:
    """Return the job in the folder.

    Raises:
        OSError: there is none, or something that is no regular file of the size of a job.
        ValueError: it is no job.
    """
    return Job.model_validate_json(read_regular(folder / JOB, limit=_LARGEST_JOB_BYTES, follow=False))


def result_left(folder: Path) -> TrialResult | str:
    """The result in the folder, or a sentence on why there is none that counts."""
    if not is_real_folder(folder):
        return "its folder was removed or replaced while it ran"
    if not (folder / RESULT).exists():
        return "it left no result"
    try:
        return read_result(folder)
    except HarnessError as error:
        return f"its result cannot be read: {error.message}"
