"""Reports of many trials in little memory: results in brief, and a file that is made one result at a time.

Ten thousand results as they are stored fill more than a gigabyte. Tables, the bounds of gates and resuming
need a tenth of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Final, TypeVar

import pydantic_core

from harness.model.arrays import Numbers
from harness.model.frozen import Frozen, lean
from harness.model.measurements import Measurement
from harness.model.results import Report, TrialResult
from harness.model.trial import Trial
from harness.store.writing import NO_DIGEST, storage_error, unsealed_json

_NO_RESULTS: Final = b'"results": []'
# Steps, losses and logits of three epochs of MRPC take about 30 kB a trial in memory.
MOST_WHOLE: Final = 200
_CHUNK_BYTES: Final = 2**20
_MEMORY_BYTES: Final = 2**22


@dataclass(frozen=True)
class ReportFile:
    """The bytes that `to_json` returns for a report; `sha256` is that of them all, in hexadecimal digits."""

    digest: str
    sha256: str
    _unsealed: SpooledTemporaryFile[bytes]

    def chunks(self) -> Iterator[bytes]:
        """The file from its beginning, at most a mebibyte or so at a time."""
        return _sealed(self._unsealed, self.digest)


@contextmanager
def report_file(report: Report, results: Iterable[TrialResult], folder: Path) -> Iterator[ReportFile]:
    """Lay out the report's file; beyond some megabytes it waits in a file without a name in `folder`.

    Args:
        report: the report; its own results are ignored.
        results: the results to write, in order.
        folder: where the file will lie.

    Raises:
        StorageError: There is no space for it.
        ValueError: As `to_json` does.
    """
    try:
        with SpooledTemporaryFile(_MEMORY_BYTES, dir=str(folder)) as unsealed:
            hashed = hashlib.sha256()
            for part in _parts(report, results):
                hashed.update(part)
                unsealed.write(part)
            digest = f"sha256:{hashed.hexdigest()}"
            whole = hashlib.sha256()
            for chunk in _sealed(unsealed, digest):
                whole.update(chunk)
            yield ReportFile(digest, whole.hexdigest(), unsealed)
    except OSError as error:
        raise storage_error(error, f"cannot write {folder / 'report.json'}") from error


def _parts(report: Report, results: Iterable[TrialResult]) -> Iterator[bytes]:
    frame = unsealed_json(report.model_copy(update={"results": (), "digest": None}))
    before, _, after = frame.rpartition(_NO_RESULTS)
    yield before
    between = b'"results": [\n    '
    for result in results:
        yield between
        # A newline in the encoder's output is never part of a string.
        yield unsealed_json(result).rstrip(b"\n").replace(b"\n", b"\n    ")
        between = b",\n    "
    yield _NO_RESULTS if between.startswith(b'"') else b"\n  ]"
    yield after


def _sealed(unsealed: SpooledTemporaryFile[bytes], digest: str) -> Iterator[bytes]:
    unsealed.seek(0)
    first = unsealed.read(_CHUNK_BYTES)
    yield first.replace(NO_DIGEST, b'"digest": "%s"' % digest.encode(), 1)
    while chunk := unsealed.read(_CHUNK_BYTES):
        yield chunk


M = TypeVar("M", bound=Frozen)

Shape = Callable[[TrialResult], TrialResult]


class SharedParts:
    """Parts of many results, of which equal ones are kept once."""

    def __init__(self) -> None:
        self._parts: dict[bytes, Frozen] = {}

    def shared(self, part: M) -> M:
        """Return the first part that was equal to this one, or this one."""
        equal = self._parts.setdefault(pydantic_core.to_json(part), part)
        return equal if isinstance(equal, type(part)) else part


def as_it_is(result: TrialResult) -> TrialResult:
    """Return the result itself, with everything in it."""
    return result


def briefly(trials: Iterable[Trial], *, whole: int = MOST_WHOLE) -> Shape:
    """Return a function that leaves out predictions and replaces many values by their median.

    It shares what equals a part of an earlier result.

    Args:
        trials: those of the plan, which replace equal ones.
        whole: keep everything in plans of at most this many trials, whose page shows steps and breakdowns.
    """
    planned = {trial.id: trial for trial in trials}
    shared = SharedParts().shared
    keep = len(planned) <= whole

    def measurement(found: Measurement) -> Measurement:
        if found.median is None:
            return shared(found)
        return lean(found) if keep else lean(found, values=Numbers((found.median,)))

    def shape(result: TrialResult) -> TrialResult:
        trial = planned.get(result.trial.id)
        return lean(
            result,
            trial=trial if trial == result.trial else result.trial,
            predictions=result.predictions if keep else None,
            measurements=tuple(map(measurement, result.measurements)),
            checkpoint=result.checkpoint and shared(result.checkpoint),
            data=result.data and shared(result.data),
            environment=result.environment and shared(result.environment),
        )

    return shape
