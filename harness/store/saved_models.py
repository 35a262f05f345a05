"""Trained models that a run saves on request: `DIR/<trial id>/`, in the format of transformers.

`harness.json` in such a folder names the attempt that trained the model and the digests of its files: a
finished trial counts as saved only if its model is there, whole.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Final

from pydantic import AwareDatetime, Field

from harness.assets.digest import file_sha256, weights_sha256
from harness.errors import InvalidInputError, StorageError
from harness.model.frozen import Frozen
from harness.model.results import TrialResult
from harness.store.folders import is_real_folder, is_there, make_folder
from harness.store.reading import parse_strict, read_bytes
from harness.store.writing import storage_error, to_json, write_atomic

MARK: Final = "harness.json"
CARD: Final = "README.md"
_LOSS: Final = "train_loss"
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SavedModel(Frozen):
    """The content of `harness.json`; `started` and `train_loss` are those of the result of the same training.

    Trainings that follow one window have its start: their losses tell them apart. `files` has the digest of
    every file of the model by name: weights, config and tokenizer.
    """

    trial: str
    started: AwareDatetime
    train_loss: float | None
    weights_sha256: _Sha256
    files: dict[str, _Sha256]


def model_folder(models: Path, trial_id: str) -> str:
    """Return the absolute path of the folder for a trial's model, inside `models`, which is made.

    Raises:
        InvalidInputError: Something else is in its place.
        StorageError: The operating system refused a step, or lets nobody write into `models`.
    """
    folder = models.absolute() / trial_id
    try:
        make_folder(folder.parent)
        taken = is_there(folder) and not is_model(folder)
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


def is_model(folder: Path) -> bool:
    """Return whether harness saved a model in this folder, which another may replace; no link is followed."""
    return is_real_folder(folder) and (folder / MARK).is_file()


def mark_saved(folder: Path, result: TrialResult) -> None:
    """Write `harness.json` into a folder that has all other files of the model.

    Raises:
        StorageError: The operating system refused a step.
    """
    names = sorted(file.name for file in folder.iterdir() if file.is_file() and file.name not in (MARK, CARD))
    saved = SavedModel(
        trial=result.trial.id,
        started=result.started,
        train_loss=result.value(_LOSS),
        weights_sha256=weights_sha256(folder),
        files={name: file_sha256(folder / name) for name in names},
    )
    write_atomic(folder / MARK, to_json(saved))


def saved_model(folder: Path, result: TrialResult) -> SavedModel | None:
    """Return the mark in the folder, or None if it is not of this result or a file of the model changed."""
    try:
        saved = parse_strict(read_bytes(folder / MARK), SavedModel, folder / MARK)
        now = {name: file_sha256(folder / name) for name in saved.files}
        whole = saved.files == now and saved.weights_sha256 == weights_sha256(folder)
    except (InvalidInputError, StorageError, OSError):
        return None
    about = (saved.trial, saved.started, saved.train_loss)
    same = about == (result.trial.id, result.started, result.value(_LOSS))
    return saved if whole and same else None
