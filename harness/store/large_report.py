"""Read a large report one result at a time, so that its file is never in memory as a whole."""

from __future__ import annotations

import gc
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from harness.foreign import open_regular
from harness.model.results import Report
from harness.store.large_results import ResultsReader, parsed
from harness.store.writing import without_digest

LARGE_BYTES: Final = 2**24
# 10,000 trials of MRPC take 0.4 GB; their results are in memory at once.
LARGEST_REPORT_BYTES: Final = 2**31
_CHUNK_BYTES: Final = 2**20
# The layout of `report_file`. No string of a JSON text contains a newline, so these are never part of one.
_FIRST: Final = b'"results": [\n    {'
_BETWEEN: Final = b"\n    },\n    {"
_LAST: Final = b"\n    }\n  ]"
_TRIAL: Final = b'\n      "trial": {'


def read_large(path: Path, *, least: int = LARGE_BYTES, most: int = LARGEST_REPORT_BYTES) -> Report | None:
    """Return the report in a file of `least` to `most` bytes, without its digest, which was verified.

    Return None for a file of another size, a pipe, another layout or schema, a digest that does not match,
    and any damage: the caller then reads the file as a whole, which gives the better message.
    """
    try:
        # Opening a named pipe and closing it again would end the process that writes to it.
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with os.fdopen(open_regular(path), "rb") as file:
            if not least <= os.fstat(file.fileno()).st_size <= most:
                return None
            with _uncollected():
                return _Reader(file).report()
    except (OSError, ValueError, OverflowError, RecursionError):
        return None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Collect no garbage: each collection would visit all results so far, which take no part in cycles."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class _Reader:
    """A pass over the file, which hashes it as it goes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._buffer = b""

    def report(self) -> Report | None:
        """Return the report, or None if its digest or its layout is not that of `report_file`."""
        head = self._until(_FIRST)
        if head is None:
            return None
        results = tuple(map(ResultsReader().read, self._results()))
        tail = self._buffer + b"".join(iter(self._read, b""))
        document = parsed(head + b'"results": null' + tail)
        # Null shows that the list was the report's own, not one of a nested object.
        if not isinstance(document, dict) or document.get("results", ()) is not None:
            return None
        if type(document.get("schema_version")) is not int:
            return None
        frame = Report.model_validate_json(head + b'"results": []' + tail)
        if frame.digest != f"sha256:{self._hash.hexdigest()}":
            return None
        return Report.model_validate(frame.__dict__ | {"digest": None, "results": results})

    def _read(self) -> bytes:
        first = self._file.tell() == 0
        chunk = self._file.read(_CHUNK_BYTES)
        self._hash.update(without_digest(chunk) if first else chunk)
        return chunk

    def _until(self, separator: bytes) -> bytes | None:
        """Return the bytes before the separator, and keep those after it."""
        head, start = bytearray(), 0
        while (at := head.find(separator, start)) < 0:
            start = max(len(head) - len(separator), 0)
            chunk = self._read()
            if not chunk:
                return None
            head += chunk
        self._buffer = bytes(head[at + len(separator) :])
        return bytes(head[:at])

    def _results(self) -> Iterator[bytes]:
        """Yield the members of each result: the lines between its braces."""
        start = 0
        while True:
            # An end before it would leave a result that is no JSON.
            if (between := self._buffer.find(_BETWEEN + _TRIAL, start)) >= 0:
                yield self._buffer[start:between]
                start = between + len(_BETWEEN)
                continue
            if (last := self._buffer.find(_LAST, start)) >= 0:
                yield self._buffer[start:last]
                self._buffer = self._buffer[last + len(_LAST) :]
                return
            chunk = self._read()
            if not chunk:
                raise ValueError("the list of results has no end")
            self._buffer, start = self._buffer[start:] + chunk, 0
