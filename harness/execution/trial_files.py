"""The files in a trial's folder: what passes through them between parent and worker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from harness.errors import HarnessError
from harness.job import Job
from harness.results.models import TrialResult
from harness.results.trial_folder import read_result
from harness.results.writing import to_json

JOB: Final = "job.json"
PROGRESS: Final = "progress.jsonl"
LOG: Final = "log"
RESULT: Final = "result.json"


def prepare_folder(folder: Path, job: Job) -> None:
    """Remove what an earlier attempt left, and write the job.

    The job is not synchronised: it is a message to the worker that is about to read it, and means nothing
    later.
    """
    for name in (RESULT, PROGRESS, LOG, JOB):
        (folder / name).unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(folder / JOB, flags, 0o666), "wb") as file:
        file.write(to_json(job))


def result_left(folder: Path) -> TrialResult | str:
    """The result in the folder, or a sentence on why there is none that counts."""
    if not (folder / RESULT).exists():
        return "it left no result"
    try:
        return read_result(folder)
    except HarnessError as error:
        return f"its result cannot be read: {error.message}"
