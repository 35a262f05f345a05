"""Read a large report one result at a time, so that its file is never in memory as a whole.

Nine tenths of a report are lists of numbers, and most of the rest repeats from trial to trial. So a result is
cut by its layout: lists of numbers are parsed alone, and equal parts are parsed and kept once.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final

import pydantic_core

from harness.foreign import open_regular
from harness.model.arguments import Train
from harness.model.arrays import Logits
from harness.model.assets import Checkpoint, Data
from harness.model.environment import Environment
from harness.model.frozen import Frozen, lean
from harness.model.measurements import Layout, Measurement, Measurements, PackedMeasurements, check_values
from harness.model.quality import Predictions
from harness.model.results import Report, TrialResult
from harness.model.tasks import Task
from harness.store.report_file import SharedParts
from harness.store.writing import without_digest

LARGE_BYTES: Final = 2**24
# 10,000 trials of MRPC take 0.4 GB; their results are in memory at once.
LARGEST_REPORT_BYTES: Final = 2**31
_CHUNK_BYTES: Final = 2**20
# The layout of `report_file`. No string of a JSON text contains a newline, so these are never part of one.
_FIRST: Final = b'"results": [\n    {'
_BETWEEN: Final = b"\n    },\n    {"
_LAST: Final = b"\n    }\n  ]"
_KEY: Final = b'\n      "'
_INNER_KEY: Final = b'\n        "'
_VALUES: Final = b'"values": ['
_LOAD: Final = b'\n        "load_average": '
_DIGITS: Final = b"0123456789+-.eE"
_OF_NUMBERS: Final = _DIGITS + b", "
_ROW: Final = b"\n          ["
_LAST_ROW: Final = b"\n        ]"
# Parts of results that are kept to be found again, such as the settings of a variant.
_MOST_PARTS: Final = 4_096
# Sets of evaluated examples with their labels.
_MOST_TABLES: Final = 32


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
    except (OSError, ValueError, OverflowError, RecursionError):
        return None


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
        results = tuple(map(_Results().read, self._results()))
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
            if (between := self._buffer.find(_BETWEEN, start)) >= 0:
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


class _Results:
    """Parse the results of one report; parts that several of them have are parsed and kept once.

    A result is cut at the lines that begin like its keys. Where each part is a JSON value, the result has
    exactly these members; where one is not, the file is laid out in another way.
    """

    def __init__(self) -> None:
        self._part = lru_cache(maxsize=_MOST_PARTS)(_part)
        self._table = lru_cache(maxsize=_MOST_TABLES)(_table)
        self._shared = SharedParts().shared
        # The first measurement with the same text before and after its values, if any.
        self._kinds: dict[tuple[bytes, bytes, bool], Measurement] = {}
        # By the identities of the kinds, which live as long as this, and the numbers of values.
        self._layouts: dict[tuple[tuple[int, ...], tuple[int, ...]], Layout] = {}
        self._of_result: Mapping[str, Callable[[bytes], object]] = {
            "measurements": self._measurements,
            "predictions": self._predictions,
            "checkpoint": partial(self._optional, Checkpoint),
            "data": partial(self._optional, Data),
            "environment": self._environment,
        }
        self._of_trial: Mapping[str, Callable[[bytes], object]] = {
            "task": partial(self._part, Task),
            "train": partial(self._part, Train),
        }

    def read(self, text: bytes) -> TrialResult:
        """Return the result with these members.

        Raises:
            ValueError: They are laid out in another way, or are no result.
        """
        members = _members(text, _KEY)
        trial = _members(_inside(members.get("trial", b""), b"{", b"\n      }"), _INNER_KEY)
        parts = {name: read(members.pop(name)) for name, read in self._of_result.items() if name in members}
        settings = {name: read(trial.pop(name)) for name, read in self._of_trial.items() if name in trial}
        rest = _object(members | {"trial": _object(trial)})
        document = _parsed(rest)
        # A key that is written with escapes can equal one that was cut out.
        if not (parts.keys().isdisjoint(document) and settings.keys().isdisjoint(document["trial"])):
            raise ValueError("a key occurs twice")
        frame = TrialResult.model_validate_json(rest)
        settings["padding"] = self._shared(frame.trial.padding)
        parts |= {"trial": lean(frame.trial, **settings), "epochs": tuple(map(lean, frame.epochs))}
        # The report's validation checks the parts against each other.
        return lean(frame, **parts)

    def _optional(self, model: type[Frozen], text: bytes) -> Frozen | None:
        return None if text == b"null" else self._part(model, text)

    def _environment(self, text: bytes) -> Frozen | None:
        """Return an environment whose parts are those of an earlier one that differs in its load alone."""
        before, key, load = text.rpartition(_LOAD)
        number = load.removesuffix(b"\n      }")
        if not key or number in (load, b"null"):
            return self._optional(Environment, text)
        ((load_average,),) = _lists([number])
        found = self._part(Environment, before + key + b"null\n      }")
        return lean(found, load_average=float(load_average))

    def _measurements(self, text: bytes) -> Measurements:
        if text == b"[]":
            return ()
        inside = _inside(text, b"[\n        {", b"\n        }\n      ]")
        kinds: list[Measurement] = []
        texts: list[bytes] = []
        for part in inside.split(b"\n        },\n        {"):
            before, _, rest = part.partition(_VALUES)
            values, _, after = rest.partition(b"]")
            kind = self._kinds.get((before, after, bool(values)))
            if kind is None:
                whole = self._part(Measurement, b"{" + part + b"}")
                assert isinstance(whole, Measurement)
                kind = self._kinds[before, after, bool(values)] = whole
            kinds.append(kind)
            texts.append(values)
        values_of = _lists(texts)
        for kind, found in zip(kinds, values_of, strict=True):
            if bool(found) != bool(kind.values):
                raise ValueError("either values or a reason for having none")
            check_values(kind.metric, found)
        key = tuple(map(id, kinds)), tuple(map(len, values_of))
        if (layout := self._layouts.get(key)) is None:
            layout = self._layouts[key] = Layout.of(kinds, key[1])
        return PackedMeasurements(layout, values_of)

    def _predictions(self, text: bytes) -> Predictions | None:
        if text == b"null":
            return None
        members = _members(_inside(text, b"{", b"\n      }"), _INNER_KEY)
        logits = _rows(members.pop("logits", b""))
        table = self._table(tuple(members.items()), len(logits), len(logits[0]))
        return lean(table, logits=logits)


def _part(model: type[Frozen], text: bytes) -> Frozen:
    _parsed(text)
    return model.model_validate_json(text)


def _table(members: tuple[tuple[str, bytes], ...], rows: int, classes: int) -> Predictions:
    """Return predictions with these members and zeros as logits, whose number alone is validated."""
    zeros = json.dumps([[0.0] * classes] * rows).encode()
    text = _object(dict(members) | {"logits": zeros})
    _parsed(text)
    return Predictions.model_validate_json(text)


def _members(text: bytes, key: bytes) -> dict[str, bytes]:
    """Return the members of an object, as text by key, cut where a line begins like one of its keys."""
    before, *parts = text.split(key)
    found: dict[str, bytes] = {}
    for at, part in enumerate(parts, start=1):
        name, _, value = part.partition(b'": ')
        found[name.decode()] = value if at == len(parts) else _inside(value, b"", b",")
    if before or len(found) < len(parts):
        raise ValueError("another layout, or a key that occurs twice")
    return found


def _inside(text: bytes, opening: bytes, closing: bytes) -> bytes:
    if not (text.startswith(opening) and text.endswith(closing)):
        raise ValueError("another layout")
    return text[len(opening) : len(text) - len(closing)]


def _object(members: Mapping[str, bytes]) -> bytes:
    return b"{" + b", ".join(b'"%s": %s' % (name.encode(), value) for name, value in members.items()) + b"}"


def _lists(texts: Sequence[bytes]) -> list[list[float]]:
    """Return the numbers of lists without their brackets."""
    text = b"],[".join(texts)
    if text.translate(None, _OF_NUMBERS) != b"][" * (len(texts) - 1):
        raise ValueError("no numbers")
    found: list[list[float]] = pydantic_core.from_json(b"[[%s]]" % text)
    # A number beyond the largest float is parsed as infinite.
    if not math.isfinite(sum(chain.from_iterable(found))):
        raise ValueError("a number is not finite")
    return found


def _rows(text: bytes) -> Logits:
    """Return the logits of a list of lists of equal length."""
    classes = text[: text.find(b"]")].count(b",") + 1
    rows = text.count(b"[") - 1
    if rows * classes > len(text) or text.translate(None, _DIGITS) != _brackets(rows, classes):
        raise ValueError("no rows of numbers")
    # Each place between commas has a number, or this is no JSON.
    found = Logits.of_numbers(pydantic_core.from_json(b"[%s]" % text.translate(None, b"[]\n")), classes)
    if not found.finite:
        raise ValueError("a logit is not finite")
    return found


@lru_cache(maxsize=_MOST_TABLES)
def _brackets(rows: int, classes: int) -> bytes:
    """Return the text of rows without their numbers."""
    row = _ROW + b", " * (classes - 1) + b"]"
    return b"[" + b",".join([row] * rows) + _LAST_ROW


def _parsed(data: bytes) -> Any:
    """Return a JSON document, checked like a whole report.

    Raises:
        ValueError: It is not UTF-8 or not JSON, or a key occurs twice.
        RecursionError: It is nested too deeply.
    """
    return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError("a key occurs twice")
    return unique


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
