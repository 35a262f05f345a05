"""Trained models that a run saves on request: `DIR/<trial id>/`, in the format of transformers.

`harness.json` in such a folder names the attempt that trained the model and the digest of its weights: a
finished trial counts as saved only if its model is there, whole.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Final

from pydantic import AwareDatetime, Field

from harness.assets.digest import weights_sha256
from harness.errors import InvalidInputError, StorageError
from harness.model.frozen import Frozen
from harness.model.results import TrialResult
from harness.store.folders import is_there, make_folder
from harness.store.reading import parse_strict, read_bytes
from harness.store.writing import storage_error, to_json, write_atomic

MARK: Final = "harness.json"


class SavedModel(Frozen):
    """The content of `harness.json`; `started` is that of the result of the same training."""

    trial: str
    started: AwareDatetime
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def model_folder(models: Path, trial_id: str) -> str:
    """Return the absolute path of the folder for a trial's model, inside `models`, which is made.

    Raises:
        InvalidInputError: Something else is in its place.
        StorageError: The operating system refused a step, or lets nobody write into `models`.
    """
    folder = models.absolute() / trial_id
    try:
        make_folder(folder.parent)
        taken = is_there(folder) and not is_there(folder / MARK)
        # Better now than after hours of training.
        TemporaryFile(dir=folder.parent).close()
    except FileExistsError:
        taken = True
    except OSError as error:
        raise storage_error(error, f"cannot write into {models}") from error
    if taken:
        raise InvalidInputError(
            f"{models}, or {trial_id} in it, exists and is no model that harness saved",
            hint="Move it out of the way, or give --save-models another folder.",
        )
    return str(folder)


def mark_saved(folder: Path, result: TrialResult) -> None:
    """Write `harness.json` into a folder that has the weights.

    Raises:
        StorageError: The operating system refused a step.
    """
    saved = SavedModel(trial=result.trial.id, started=result.started, weights_sha256=weights_sha256(folder))
    write_atomic(folder / MARK, to_json(saved))


def saved_model(folder: Path, result: TrialResult) -> SavedModel | None:
    """Return the mark in the folder, or None if it is not of this result or the weights have changed."""
    try:
        saved = parse_strict(read_bytes(folder / MARK), SavedModel, folder / MARK)
        whole = saved.weights_sha256 == weights_sha256(folder)
    except (InvalidInputError, StorageError, OSError):
        return None
    return saved if whole and (saved.trial, saved.started) == (result.trial.id, result.started) else None
