"""A trial's folder and its `result.json`, the only proof that the trial has ended."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from harness.errors import InvalidInputError
from harness.model.frozen import Frozen
from harness.model.results import SCHEMA_VERSION, TrialResult
from harness.store.folders import is_real_folder, make_real_folder
from harness.store.reading import parse_stored, read_bytes
from harness.store.writing import OS_FILES, Files, canonical_json, digest_of, to_json, write_atomic

TRIAL_ID: Final = re.compile(r"[0-9a-f]{16}")
# Three epochs of MNLI, 150,000 steps and 10,000 predictions, take 8 MB.
LARGEST_RESULT_BYTES: Final = 2**28


class SealedResult(Frozen):
    """The content of `result.json`: a result and the SHA-256 of its canonical bytes.

    Files of schema 1 have no `schema_version`.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    result: TrialResult


def write_result(folder: Path, result: TrialResult, *, files: Files = OS_FILES) -> None:
    """Write `result.json` into the trial's folder; from then on the trial is done.

    Raises:
        InvalidInputError: The folder is another trial's, or a symbolic link.
        StorageError: The operating system refused a step; the folder then holds no torn file.
    """
    _check_folder(folder)
    _check_place(result, folder / "result.json")
    sealed = SealedResult(digest=digest_of(canonical_json(result)), result=result)
    write_atomic(folder / "result.json", to_json(sealed), files=files)


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
    """The result in the trial's folder.

    Raises:
        InvalidInputError: There is none, or it is torn, changed, foreign, or another trial's.
        StorageError: The operating system refused to read it.
    """
    _check_folder(folder)
    path = folder / "result.json"
    data = read_bytes(path, follow=False, limit=LARGEST_RESULT_BYTES)
    sealed, stored = parse_stored(data, SealedResult, path, unversioned=1)
    if sealed.digest != digest_of(canonical_json(sealed.result if stored is None else stored["result"])):
        raise InvalidInputError(
            f"{path}: its content does not match its digest",
            hint="It does not count as done; the trial will run again.",
        )
    _check_place(sealed.result, path)
    return sealed.result


def _check_folder(folder: Path) -> None:
    if not (is_real_folder(folder) and is_real_folder(folder.parent)):
        raise InvalidInputError(
            f"{folder}: no folder, or a symbolic link, which is never followed",
            hint="Remove it; the trial will run again.",
        )


def _check_place(result: TrialResult, path: Path) -> None:
    if result.trial.id != path.parent.name:
        raise InvalidInputError(
            f"{path}: holds the result of trial {result.trial.id}, not of {path.parent.name}",
            hint="It does not count as done; the trial will run again.",
        )
