"""Read a large report one result at a time, so that its file is never in memory as a whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import pydantic_core
from pydantic import ValidationError

from harness.foreign import ForeignFileError, open_regular
from harness.model.frozen import Frozen
from harness.model.measurements import Measurement
from harness.model.results import Report, TrialResult
from harness.store.writing import NO_DIGEST

M = TypeVar("M", bound=Frozen)

LARGE_BYTES: Final = 2**24
_CHUNK_BYTES: Final = 2**20
# The layout of `report_file`. No string of a JSON text contains a newline, so these are never part of one.
_FIRST: Final = b'"results": [\n    {'
_BETWEEN: Final = b"\n    },\n    {"
_LAST: Final = b"\n    }\n  ]"


def read_large(path: Path, least: int = LARGE_BYTES) -> Report | None:
    """Return the report in a file of at least `least` bytes, without its digest, which was verified.

    None for a smaller file, another layout or schema, a digest that does not match, and anything wrong:
    whoever reads the file as a whole gives the better message.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            if os.fstat(file.fileno()).st_size < least:
                return None
            return _Reader(file).report()
    except (ForeignFileError, OSError, ValueError):
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
        results = tuple(self._share(_checked(one, TrialResult)) for one in self._results())
        tail = self._buffer + b"".join(iter(self._read, b""))
        frame = _checked(head + b'"results": []' + tail, Report)
        if frame.digest != f"sha256:{self._hash.hexdigest()}":
            return None
        return Report.model_validate(frame.__dict__ | {"digest": None, "results": results})

    def _read(self) -> bytes:
        first = self._file.tell() == 0
        chunk = self._file.read(_CHUNK_BYTES)
        # The digest covers the file with null in its place.
        self._hash.update(_without_digest(chunk) if first else chunk)
        return chunk

    def _until(self, separator: bytes) -> bytes | None:
        """Return the bytes before the separator, and keep those after it."""
        while (at := self._buffer.find(separator)) < 0:
            chunk = self._read()
            if not chunk:
                return None
            self._buffer += chunk
        head, self._buffer = self._buffer[:at], self._buffer[at + len(separator) :]
        return head

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


def _without_digest(chunk: bytes) -> bytes:
    before, key, after = chunk[:200].partition(b'"digest": "')
    return before + NO_DIGEST + after.partition(b'"')[2] + chunk[200:] if key else chunk


def _checked(data: bytes, model: type[M]) -> M:
    """Validate one part, in which no key may occur twice.

    Raises:
        ValueError: It is damaged.
    """
    json.loads(data, object_pairs_hook=_unique, parse_constant=_refuse)
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise ValueError(str(error)) from error


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key occurs twice")


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _sharing() -> Callable[[TrialResult], TrialResult]:
    """Return a function that replaces the parts of a result that equal those of an earlier one by these."""
    parts: dict[bytes, Frozen] = {}
    fields = set(Measurement.model_fields)

    def shared(part: M) -> M:
        equal = parts.setdefault(pydantic_core.to_json(part), part)
        return equal if isinstance(equal, type(part)) else part

    def measurement(found: Measurement) -> Measurement:
        # Every validated model owns a set of the fields that were given, as large as the rest of it.
        return Measurement.model_construct(_fields_set=fields, **found.__dict__)

    def share(result: TrialResult) -> TrialResult:
        trial = result.trial
        changes: dict[str, Any] = {
            name: shared(part)
            for name in ("checkpoint", "data", "environment")
            if (part := getattr(result, name)) is not None
        }
        parts_of_trial = {
            "task": shared(trial.task),
            "train": shared(trial.train),
            "padding": shared(trial.padding),
        }
        changes["trial"] = trial.model_copy(update=parts_of_trial)
        changes["measurements"] = tuple(map(measurement, result.measurements))
        return result.model_copy(update=changes)

    return share
