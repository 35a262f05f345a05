"""Read a large report some results at a time, so that its file is never in memory as a whole.

This process reads and hashes the file. Of the largest ones, other processes parse some of the results.
"""

from __future__ import annotations

import gc
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

from harness.foreign import open_regular
from harness.machine.facts import cpu_quota, usable_cores
from harness.model.results import Report, TrialResult
from harness.store.large_results import ResultsReader, parsed
from harness.store.results_process import Batch, HelperEndedError, ResultsProcess
from harness.store.writing import without_digest

LARGE_BYTES: Final = 2**24
# 10,000 trials of MRPC take 0.4 GB; their results are in memory at once.
LARGEST_REPORT_BYTES: Final = 2**31
_CHUNK_BYTES: Final = 2**20
# Parsing so much takes longer than the start of another process. Reading and hashing alone are a fifth of the
# time, and nobody helps with them: a fourth helper would gain little.
_SHARED_BYTES: Final = 2**26
_MOST_HELPERS: Final = 3
# Results have parts in common, which are kept once in each batch from another process.
_BATCH_BYTES: Final = 2**22
# The layout of `report_file`. No string of a JSON text contains a newline, so these are never part of one.
_FIRST: Final = b'"results": [\n    {'
_BETWEEN: Final = b"\n    },\n    {"
_LAST: Final = b"\n    }\n  ]"
_TRIAL: Final = b'\n      "trial": {'


def read_large(
    path: Path,
    *,
    least: int = LARGE_BYTES,
    most: int = LARGEST_REPORT_BYTES,
    helpers: Sequence[ResultsProcess] | None = None,
    batch_bytes: int = _BATCH_BYTES,
) -> Report | None:
    """Return the report in a file of `least` to `most` bytes, without its digest, which was verified.

    Return None for a file of another size, a pipe, another layout or schema, a digest that does not match,
    and any damage: the caller then reads the file as a whole, which gives the better message.

    Args:
        path: the file.
        least: bytes that it has to have.
        most: bytes that it may have.
        helpers: processes that parse results, too; None for as many as its size and this machine suggest.
        batch_bytes: bytes of results that are parsed together.
    """
    try:
        # Opening a named pipe and closing it again would end the process that writes to it.
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with os.fdopen(open_regular(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not least <= size <= most:
                return None
            with _uncollected():
                return _read(file, _helpers(size) if helpers is None else helpers, batch_bytes)
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


def _helpers(size: int) -> list[ResultsProcess]:
    """Return the processes that are worth their start for a file of so many bytes."""
    if size < _SHARED_BYTES:
        return []
    cores = min(usable_cores(), int(cpu_quota()))
    return [ResultsProcess() for _ in range(min(cores - 1, _MOST_HELPERS))]


def _read(file: BinaryIO, helpers: Sequence[ResultsProcess], batch_bytes: int) -> Report | None:
    try:
        with ExitStack() as running:
            return _Reader(file, [running.enter_context(helper) for helper in helpers], batch_bytes).report()
    except HelperEndedError:
        # A result that it cannot parse ends a process, and so does a lack of memory: this one reads all.
        file.seek(0)
        return _Reader(file, (), batch_bytes).report()


class _Reader:
    """A pass over the file, which hashes it as it goes."""

    def __init__(self, file: BinaryIO, helpers: Sequence[ResultsProcess], batch_bytes: int) -> None:
        self._file = file
        self._helpers, self._batch_bytes = helpers, batch_bytes
        self._hash = hashlib.sha256()
        self._buffer = b""

    def report(self) -> Report | None:
        """Return the report, or None if its digest or its layout is not that of `report_file`."""
        head = self._until(_FIRST)
        if head is None:
            return None
        results = self._parsed()
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

    def _parsed(self) -> tuple[TrialResult, ...]:
        """Parse each batch here, unless another process takes it."""
        read = ResultsReader().read
        found: dict[int, tuple[TrialResult, ...]] = {}
        for batch in self._batches():
            if not any(helper.takes(batch) for helper in self._helpers):
                place, texts = batch
                found[place] = tuple(map(read, texts))
        for helper in self._helpers:
            found |= helper.results()
        return tuple(chain.from_iterable(found[place] for place in sorted(found)))

    def _batches(self) -> Iterator[Batch]:
        place, size, texts = 0, 0, list[bytes]()
        for text in self._results():
            texts.append(text)
            size += len(text)
            if size >= self._batch_bytes:
                yield place, texts
                place, size, texts = place + len(texts), 0, []
        yield place, texts

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
