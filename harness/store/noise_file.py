"""Read and write the calibrations of this machine, one sealed file for each fingerprint."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from harness.assets.places import wanted_cache_root
from harness.errors import InvalidInputError
from harness.model.calibration import Noise, values_by_state
from harness.model.frozen import Frozen
from harness.model.metrics import METRICS
from harness.model.results import Report
from harness.store.folders import is_there, make_folder
from harness.store.reading import read_strict
from harness.store.writing import canonical_json, digest_of, storage_error, to_json, write_atomic

_AGAIN: Final = (
    "Measure again: `harness calibrate SUITE`, or remove stored calibrations: `harness calibrate --clear`."
)


class SealedNoise(Frozen):
    """The content of a calibration's file: the bands and the SHA-256 of their canonical bytes."""

    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    noise: Noise


def stored_noise() -> Path:
    """Return the folder of this machine's calibrations; it is not created."""
    return wanted_cache_root() / "noise"


def noise_file(folder: Path, fingerprint: str) -> Path:
    """Return the file for the machine with that fingerprint."""
    return folder / f"{fingerprint}.json"


def write_noise(folder: Path, noise: Noise) -> Path:
    """Store a calibration in place of an earlier one of its machine, and return its file.

    Raises:
        StorageError: The file cannot be written.
    """
    file = noise_file(folder, noise.fingerprint)
    make_folder(folder)
    write_atomic(file, to_json(SealedNoise(digest=digest_of(canonical_json(noise)), noise=noise)))
    return file


def read_noise(file: Path) -> Noise:
    """Return a stored calibration; `analysis.over_time.noise` checks its bands.

    Raises:
        InvalidInputError: The file is damaged, was edited, or belongs to another machine; the hint names the
            command that writes it again.
        StorageError: The file cannot be read.
    """
    try:
        sealed = read_strict(file, SealedNoise)
    except InvalidInputError as error:
        raise InvalidInputError(error.message, hint=_AGAIN) from error
    noise = sealed.noise
    if sealed.digest != digest_of(canonical_json(noise)):
        raise InvalidInputError(f"{file}: its content does not match its digest", hint=_AGAIN)
    if noise.fingerprint != file.stem:
        raise InvalidInputError(f"{file}: it is of machine {noise.fingerprint}", hint=_AGAIN)
    if unknown := noise.bands.keys() - METRICS.keys():
        raise InvalidInputError(f"{file}: there is no metric {min(unknown)!r}", hint=_AGAIN)
    if noise.states:
        _check_states(file, noise)
    return noise


def _check_states(file: Path, noise: Noise) -> None:
    """Refuse states that are not the stored values, each in one state."""
    if len({state.id for state in noise.states}) != len(noise.states):
        raise InvalidInputError(f"{file}: two states have the same id", hint=_AGAIN)
    for metric, values in noise.values.items():
        by_state = values_by_state(noise.states, metric)
        if len(by_state) != len(noise.states) or tuple(chain.from_iterable(by_state)) != values:
            raise InvalidInputError(
                f"{file}: the values of {metric} do not follow from its states", hint=_AGAIN
            )


def noise_for(reports: Iterable[Report], folder: Path) -> Noise | None:
    """Return the calibration for these reports: all their trials must have run on one calibrated machine.

    Raises:
        InvalidInputError: The stored calibration is damaged: without it a verdict on speed would be another.
        StorageError: The file cannot be read.
    """
    places = {
        result.environment.fingerprint
        for report in reports
        for result in report.results
        if result.status == "completed" and result.environment is not None
    }
    if len(places) != 1:
        return None
    (place,) = places
    file = noise_file(folder, place)
    return read_noise(file) if is_there(file) else None


def noise_files(folder: Path) -> list[Path]:
    """Return the files of all stored calibrations, by fingerprint."""
    return sorted(folder.glob("*.json"))


def clear_noise(folder: Path) -> list[Path]:
    """Remove all stored calibrations, and return their files.

    Raises:
        StorageError: One cannot be removed.
    """
    files = noise_files(folder)
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, f"cannot remove {file}") from error
    return files
