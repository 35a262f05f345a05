"""Peaks that were measured on this machine, kept for the trials that follow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field

from harness.errors import InvalidInputError, StorageError
from harness.frozen import Frozen
from harness.results.folders import make_folder
from harness.results.reading import parse_strict, read_bytes
from harness.results.writing import to_json, write_atomic

# A peak should be of the time of the run: one that a busy neighbour spoilt must not stay for long.
KEPT: Final = timedelta(hours=1)

_FORMAT: Final = 1


class Peak(Frozen):
    """The fastest rate seen of one kind of work, in units a second, on the machine with that fingerprint."""

    format: Literal[1] = _FORMAT
    fingerprint: str
    work: str
    per_second: Annotated[float, Field(gt=0)]
    measured: AwareDatetime


def kept_peak(
    folder: Path,
    fingerprint: str,
    work: str,
    measure: Callable[[], float],
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> float:
    """The peak that a trial of the last hour left in `folder`, or what `measure` finds, which is then left.

    Args:
        folder: made where it is missing; trials on other devices may use it at the same time.
        fingerprint: of the environment: processor, device, threads and torch.
        work: what is done, in a few words of letters, digits and spaces.
        measure: does it and returns the fastest rate, in units a second.
        now: the time of day.

    Raises:
        StorageError: The peak cannot be written.
    """
    file = folder / f"{fingerprint}-{work.replace(' ', '-')}.json"
    found = _read(file)
    if (
        found is not None
        and (found.fingerprint, found.work) == (fingerprint, work)
        and timedelta(0) <= now() - found.measured < KEPT
    ):
        return found.per_second
    per_second = measure()
    make_folder(folder)
    peak = Peak(fingerprint=fingerprint, work=work, per_second=per_second, measured=now())
    write_atomic(file, to_json(peak))
    return per_second


def _read(file: Path) -> Peak | None:
    """What the file holds; None for one that is missing, torn or another program's: it is measured anew."""
    try:
        return parse_strict(read_bytes(file, follow=False), Peak, file)
    except (InvalidInputError, StorageError):
        return None
