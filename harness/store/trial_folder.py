"""A trial's folder: `job.json`, `progress.jsonl` and `log` of its worker, and last `result.json`.

`state.bin` is the state of a training that was interrupted: the next attempt continues with it.
Of a trial on several devices `lost_rank.json` names the rank that was killed, if one was.

`result.json` is written once in an attempt, by the worker, or by the parent where the worker left none. It is
the only proof that the trial has ended.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from harness.errors import HarnessError, InvalidInputError
from harness.foreign import last_lines, read_regular
from harness.model.frozen import Frozen
from harness.model.job import Job
from harness.model.results import SCHEMA_VERSION, TrialResult
from harness.store.folders import is_real_folder, make_real_folder
from harness.store.reading import parse_stored, read_bytes
from harness.store.writing import (
    OS_FILES,
    Files,
    canonical_json,
    digest_of,
    storage_error,
    to_json,
    write_atomic,
)

JOB: Final = "job.json"
PROGRESS: Final = "progress.jsonl"
LOG: Final = "log"
RESULT: Final = "result.json"
LOST_RANK: Final = "lost_rank.json"
STATE: Final = "state.bin"
_LARGEST_JOB_BYTES: Final = 2**24

TRIAL_ID: Final = re.compile(r"[0-9a-f]{16}")
# Three epochs of MNLI, 150,000 steps and 10,000 predictions, take 8 MB.
LARGEST_RESULT_BYTES: Final = 2**28


class LostRank(Frozen):
    """The content of `lost_rank.json`: a rank above 0 that a signal ended, which ended its trial's others."""

    rank: int
    signal: int


class SealedResult(Frozen):
    """The content of `result.json`: a result and the SHA-256 of its canonical bytes.

    Files of schema 1 have no `schema_version`.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    result: TrialResult


def clear_folder(folder: Path) -> None:
    """Remove the files of an earlier attempt.

    Raises:
        OSError: The operating system refused a step, or a folder has the name of a file.
    """
    for name in (RESULT, PROGRESS, LOG, JOB, LOST_RANK):
        (folder / name).unlink(missing_ok=True)


def prepare_folder(folder: Path, job: Job) -> str | None:
    """Remove the files of an earlier attempt and write the job; return why that is impossible, or None.

    The job is not synchronised: it is a message to the worker that is about to read it, and means nothing
    later.

    Raises:
        StorageError: The operating system refused a step, as it will for the next trial.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        clear_folder(folder)
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
        OSError: There is none, or something that is no regular file of the size of a job.
        ValueError: It is no job.
    """
    return Job.model_validate_json(read_regular(folder / JOB, limit=_LARGEST_JOB_BYTES, follow=False))


def read_lost_rank(folder: Path) -> LostRank | None:
    """Return the rank that a signal ended before the others, or None."""
    try:
        text = read_regular(folder / LOST_RANK, limit=_LARGEST_JOB_BYTES, follow=False)
        return LostRank.model_validate_json(text)
    except (OSError, ValueError):
        return None


def write_result(folder: Path, result: TrialResult, *, files: Files = OS_FILES) -> None:
    """Write `result.json` into the trial's folder; from then on the trial is done.

    Raises:
        InvalidInputError: The folder is another trial's, or a symbolic link.
        StorageError: The operating system refused a step; the folder then has no torn file.
    """
    _check_folder(folder)
    _check_place(result, folder / RESULT)
    sealed = SealedResult(digest=digest_of(canonical_json(result)), result=result)
    write_atomic(folder / RESULT, to_json(sealed), files=files)


def keep_result(folder: Path, result: TrialResult, *, files: Files = OS_FILES) -> TrialResult:
    """Write `result.json` into the trial's folder, which is made again if it has been removed.

    Where something else has taken the folder's place, nothing is written, and the result that is returned has
    a note of it: its row in the report is all that is left.

    Raises:
        StorageError: The operating system refused a step.
    """
    try:
        for place in (folder.parent, folder):
            make_real_folder(place, files)
        write_result(folder, result, files=files)
    except InvalidInputError as error:
        return result.model_copy(update={"notes": (*result.notes, f"not stored: {error.message}")})
    return result


def read_result(folder: Path) -> TrialResult:
    """Return the result in the trial's folder; one that did not complete comes with the end of the log.

    A worker cannot write that end: its last lines reach the log after its result.

    Raises:
        InvalidInputError: There is none, or it is torn, changed, foreign, or another trial's.
        StorageError: The operating system refused to read it.
    """
    _check_folder(folder)
    path = folder / RESULT
    data = read_bytes(path, follow=False, limit=LARGEST_RESULT_BYTES)
    sealed, stored = parse_stored(data, SealedResult, path, unversioned=1)
    if sealed.digest != digest_of(canonical_json(sealed.result if stored is None else stored["result"])):
        raise InvalidInputError(
            f"{path}: its content does not match its digest",
            hint="It does not count as done; the trial will run again.",
        )
    _check_place(sealed.result, path)
    if sealed.result.status == "completed" or sealed.result.log_tail:
        return sealed.result
    return sealed.result.model_copy(update={"log_tail": last_lines(folder / LOG)})


def keeping_in(folder: Path) -> Callable[[TrialResult], TrialResult]:
    """Return the function that stores the result of a trial without a worker, inside `folder`."""

    def keep(result: TrialResult) -> TrialResult:
        # The log of an earlier attempt is not this result's.
        with suppress(OSError):
            clear_folder(folder / result.trial.id)
        return keep_result(folder / result.trial.id, result)

    return keep


def result_left(folder: Path) -> TrialResult | str:
    """Return the result in the folder, or a sentence on why there is none that counts."""
    if not is_real_folder(folder):
        return "its folder was removed or replaced while it ran"
    if not (folder / RESULT).exists():
        return "it left no result"
    try:
        return read_result(folder)
    except HarnessError as error:
        return f"its result cannot be read: {error.message}"


def _check_folder(folder: Path) -> None:
    if not (is_real_folder(folder) and is_real_folder(folder.parent)):
        raise InvalidInputError(
            f"{folder}: no folder, or a symbolic link, which is never followed",
            hint="Remove it; the trial will run again.",
        )


def _check_place(result: TrialResult, path: Path) -> None:
    if result.trial.id != path.parent.name:
        raise InvalidInputError(
            f"{path}: contains the result of trial {result.trial.id}, not of {path.parent.name}",
            hint="It does not count as done; the trial will run again.",
        )
