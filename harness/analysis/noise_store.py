"""The calibrations that are stored on this machine, one sealed file for each fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from harness.analysis.noise import Noise, band
from harness.assets.places import wanted_cache_root
from harness.errors import InvalidInputError
from harness.frozen import Frozen
from harness.metrics import METRICS
from harness.results.folders import make_folder
from harness.results.models import Report
from harness.results.reading import read_strict
from harness.results.writing import canonical_json, digest_of, storage_error, to_json, write_atomic

_AGAIN: Final = (
    "Measure again: `harness calibrate SUITE`, or remove what is stored: `harness calibrate --clear`."
)
# Both sides are computed from the same stored numbers.
_TOLERANCE: Final = 1e-9


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
    """Return a stored calibration.

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
    for metric, stored in noise.bands.items():
        values = noise.values.get(metric, ())
        if len(values) != noise.repeats or min(values) <= 0 or abs(band(values) - stored) > _TOLERANCE:
            raise InvalidInputError(
                f"{file}: the band of {metric} does not follow from its values", hint=_AGAIN
            )
    return noise


def bands_for(reports: Iterable[Report], folder: Path) -> Mapping[str, float]:
    """Return the bands for these reports: all their trials must have run on one calibrated machine.

    Empty where they did not, or where that machine has no calibration.

    Raises:
        InvalidInputError: The stored calibration is damaged: without it a verdict on speed would be another.
    """
    places = {
        result.environment.fingerprint
        for report in reports
        for result in report.results
        if result.status == "completed" and result.environment is not None
    }
    if len(places) != 1:
        return {}
    (place,) = places
    file = noise_file(folder, place)
    return read_noise(file).bands if file.exists() else {}


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
