"""A report's file made one result at a time, so that no more than one of them is in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Final

from harness.model.results import Report, TrialResult
from harness.store.writing import NO_DIGEST, storage_error, unsealed_json

_NO_RESULTS: Final = b'"results": []'
_CHUNK_BYTES: Final = 2**20
_MEMORY_BYTES: Final = 2**22


@dataclass(frozen=True)
class ReportFile:
    """The bytes that `to_json` gives of a report; `sha256` is that of them all, in hexadecimal digits."""

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
        report: the report; its own results are not looked at.
        results: those that the file is to hold, in their order.
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
