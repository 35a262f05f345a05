"""Read a large report one result at a time, so that its file is never in memory as a whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from harness.foreign import open_regular
from harness.model.results import Report, TrialResult
from harness.store.report_file import SharedParts, lean
from harness.store.writing import without_digest

LARGE_BYTES: Final = 2**24
# 10,000 trials of MRPC take 0.4 GB; their results are in memory at once.
LARGEST_REPORT_BYTES: Final = 2**31
_CHUNK_BYTES: Final = 2**20
# The layout of `report_file`. No string of a JSON text contains a newline, so these are never part of one.
_FIRST: Final = b'"results": [\n    {'
_BETWEEN: Final = b"\n    },\n    {"
_LAST: Final = b"\n    }\n  ]"
# Lists of numbers have no quotation mark, so that a match lies within one string or outside of all.
_NUMBERS: Final = re.compile(rb"\[[-+.0-9eE, \n\[\]]+\]")


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
            return _Reader(file).report()
    except (OSError, ValueError, RecursionError):
        return None


class _Reader:
    """A pass over the file, which hashes it as it goes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._buffer = b""
        self._share = _sharing()

    def report(self) -> Report | None:
        """Return the report, or None if its digest or its layout is not that of `report_file`."""
        head = self._until(_FIRST)
        if head is None:
            return None
        results = tuple(map(self._result, self._results()))
        tail = self._buffer + b"".join(iter(self._read, b""))
        document = _parsed(head + b'"results": null' + tail)
        # Null shows that the list was the report's own, not one of a nested object.
        if not isinstance(document, dict) or document.get("results", ()) is not None:
            return None
        if type(document.get("schema_version")) is not int:
            return None
        frame = Report.model_validate_json(head + b'"results": []' + tail)
        if frame.digest != f"sha256:{self._hash.hexdigest()}":
            return None
        return Report.model_validate(frame.__dict__ | {"digest": None, "results": results})

    def _result(self, data: bytes) -> TrialResult:
        _parsed(data)
        return self._share(TrialResult.model_validate_json(data))

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
        start = 0
        while True:
            between = self._buffer.find(_BETWEEN, start)
            last = (
                self._buffer.find(_LAST, start, between) if between >= 0 else self._buffer.find(_LAST, start)
            )
            if last >= 0:
                yield b"{" + self._buffer[start:last] + b"}"
                self._buffer = self._buffer[last + len(_LAST) :]
                return
            if between >= 0:
                yield b"{" + self._buffer[start:between] + b"}"
                start = between + len(_BETWEEN)
                continue
            chunk = self._read()
            if not chunk:
                raise ValueError("the list of results has no end")
            self._buffer, start = self._buffer[start:] + chunk, 0


def _parsed(data: bytes) -> Any:
    """Return a JSON document without the lists of numbers in it, checked like a whole report.

    The model reads the numbers: nine tenths of a report, which have no key.

    Raises:
        ValueError: It is not UTF-8 or not JSON, or a key occurs twice.
        RecursionError: It is nested too deeply.
    """
    # Equal keys stay equal, unless one of them is written with escapes.
    if b"\\u" not in data:
        data = _NUMBERS.sub(b"[]", data)
    return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError("a key occurs twice")
    return unique


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _sharing() -> Callable[[TrialResult], TrialResult]:
    """Return a function that replaces the parts of a result by equal ones of earlier results."""
    shared = SharedParts().shared

    def share(result: TrialResult) -> TrialResult:
        trial = result.trial
        parts_of_trial = {
            "task": shared(trial.task),
            "train": shared(trial.train),
            "padding": shared(trial.padding),
        }
        return lean(
            result,
            trial=trial.model_copy(update=parts_of_trial),
            measurements=tuple(lean(each) if each.values else shared(each) for each in result.measurements),
            checkpoint=result.checkpoint and shared(result.checkpoint),
            data=result.data and shared(result.data),
            environment=result.environment and shared(result.environment),
        )

    return share
