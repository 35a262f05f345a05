"""Parse the results of a large report, cut by their layout.

Nine tenths of a report are lists of numbers, and most of the rest repeats from trial to trial. So lists of
numbers are parsed alone, and equal parts are parsed and kept once.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import accumulate, chain
from typing import Any, Final, TypeVar

import pydantic_core

from harness.model.arrays import Logits
from harness.model.assets import Checkpoint, Data
from harness.model.environment import Environment
from harness.model.frozen import Frozen, lean
from harness.model.measurements import (
    Layout,
    Measurement,
    PackedMeasurements,
    check_values,
    possible_range,
)
from harness.model.quality import Predictions
from harness.model.results import TrialResult
from harness.model.trial import Trial
from harness.store.report_file import SharedParts

M = TypeVar("M", bound=Frozen)

# The layout of `report_file`. No string of a JSON text contains a newline, so these are never part of one.
_KEY: Final = b'\n      "'
_END: Final = b"\n      }"
_MEASUREMENTS: Final = b'\n      "measurements": ', b"[\n        {", b"\n        }\n      ]"
_NEXT_MEASUREMENT: Final = b"\n        },\n        {"
_VALUES: Final = b'"values": ['
_PREDICTIONS: Final = b'\n      "predictions": ', b"{", _END
_LOGITS: Final = b'\n        "logits": '
_ROW: Final = b"\n          ["
_LAST_ROW: Final = b"\n        ]"
_LOAD: Final = b'\n        "load_average": '
_SEED: Final = b'\n        "seed": '
_PLAIN_SEED: Final = re.compile(rb"0|[1-9][0-9]{0,8}")
# Any that is valid, where the trial is parsed apart.
_SOME_TRIAL: Final = b'{"checkpoint": "", "padding": {"strategy": "dynamic"}, "device": ""}'
_DIGITS: Final = b"0123456789+-.eE"
_OF_NUMBERS: Final = _DIGITS + b", "
# Parts of results that are kept to be found again, such as the settings of a variant.
_MOST_PARTS: Final = 4_096
# Sets of evaluated examples with their labels.
_MOST_TABLES: Final = 32


class ResultsReader:
    """Parse the results of one report; parts that several of them have are parsed and kept once.

    Measurements and predictions are cut out, the rest is cut at the lines that begin like keys of a result.
    Where each part is a JSON value, the result has exactly these members; where one is not, the file is laid
    out in another way.
    """

    def __init__(self) -> None:
        self._part = lru_cache(maxsize=_MOST_PARTS)(_part)
        self._variant = lru_cache(maxsize=_MOST_PARTS)(self._new_variant)
        self._layout = lru_cache(maxsize=_MOST_PARTS)(self._new_layout)
        self._table = lru_cache(maxsize=_MOST_TABLES)(_table)
        self._shared = SharedParts().shared
        self._of_result: Mapping[str, Callable[[bytes], object]] = {
            "checkpoint": partial(self._optional, Checkpoint),
            "data": partial(self._optional, Data),
            "environment": self._environment,
        }

    def read(self, text: bytes) -> TrialResult:
        """Return the result with these members.

        Raises:
            ValueError: They are laid out in another way, or are no result.
        """
        text, measurements = _cut(text, *_MEASUREMENTS)
        text, predictions = _cut(text, *_PREDICTIONS)
        members = _members(text)
        trial = self._trial(members.pop("trial", b""))
        parts = {name: read(members.pop(name)) for name, read in self._of_result.items() if name in members}
        if measurements is not None:
            parts["measurements"] = self._measurements(measurements)
            members["measurements"] = b"[]"
        if predictions is not None:
            parts["predictions"] = self._predictions(predictions)
        members["trial"] = _SOME_TRIAL
        rest = _object(members)
        # A key that is written with escapes can equal another, and what looks like a key can be in an object.
        if parsed(rest).keys() != members.keys():
            raise ValueError("another layout, or a key that occurs twice")
        frame = TrialResult.model_validate_json(rest)
        parts |= {name: _leaner(part) for name in ("observed", "probe") if (part := getattr(frame, name))}
        # The report's validation checks the parts against each other.
        return lean(frame, **parts, trial=trial, epochs=tuple(map(lean, frame.epochs)))

    def _optional(self, model: type[M], text: bytes) -> M | None:
        return None if text == b"null" else self._part(model, text)

    def _trial(self, text: bytes) -> Trial:
        """Return a trial whose parts are those of an earlier one that differs in its seed alone."""
        before, key, rest = text.rpartition(_SEED)
        seed = rest.removesuffix(_END)
        if seed == rest or not _PLAIN_SEED.fullmatch(seed):
            return self._variant(text)
        return lean(self._variant(before + key + b"0" + _END), seed=int(seed))

    def _new_variant(self, text: bytes) -> Trial:
        trial = _part(Trial, text)
        parts = "task", "padding", "train"
        return lean(trial, **{name: self._shared(getattr(trial, name)) for name in parts})

    def _environment(self, text: bytes) -> Environment | None:
        """Return an environment whose parts are those of an earlier one that differs in its load alone."""
        before, key, load = text.rpartition(_LOAD)
        number = load.removesuffix(_END)
        if not key or number in (load, b"null"):
            return self._optional(Environment, text)
        (load_average,) = _numbers(number)
        found: Environment = self._part(Environment, before + key + b"null" + _END)
        return lean(found, load_average=float(load_average))

    def _measurements(self, text: bytes) -> PackedMeasurements:
        """Return the measurements in this text, which is without the first and the last brace."""
        first, *pieces = text.split(_VALUES)
        around, lists = [first], []
        for piece in pieces:
            values, bracket, after = piece.partition(b"]")
            around.append(bracket + after)
            lists.append(values)
        counts = tuple([values.count(b",") + 1 if values else 0 for values in lists])
        # Each place between commas has a number, or this is no JSON.
        numbers = array("d", _numbers(b",".join(filter(None, lists))))
        layout, ranges = self._layout(tuple(around), counts)
        if len(numbers) < layout.starts[-1]:
            raise ValueError("a list of spaces")
        ranges.check(numbers)
        return PackedMeasurements(layout, numbers)

    def _new_layout(self, around: tuple[bytes, ...], counts: tuple[int, ...]) -> tuple[Layout, _Ranges]:
        """Return the layout of measurements with so many values each, between these texts."""
        lists = (_VALUES + (b"1" if count else b"") for count in counts)
        text = around[0] + b"".join(chain.from_iterable(zip(lists, around[1:], strict=True)))
        kinds = [self._part(Measurement, b"{%s}" % part) for part in text.split(_NEXT_MEASUREMENT)]
        for kind, count in zip(kinds, counts, strict=True):
            if bool(kind.values) != bool(count):
                raise ValueError("another layout")
            check_values(kind.metric, [1.0] * count)
        return Layout.of(kinds, counts), _Ranges(kinds, counts)

    def _predictions(self, text: bytes) -> Predictions:
        """Return the predictions in this text, which is without its braces."""
        before, key, rest = text.partition(_LOGITS)
        rows, end, after = rest.rpartition(_LAST_ROW)
        logits = _rows(rows + end)
        table = self._table(before + key, after, len(logits), len(logits[0]))
        return lean(table, logits=logits)


class _Ranges:
    """The ranges of measurements with one layout, checked by numpy, which small reports are read without."""

    def __init__(self, kinds: Sequence[Measurement], counts: Sequence[int]) -> None:
        import numpy as np  # noqa: PLC0415

        starts = accumulate(counts, initial=0)
        kept = [(start, kind.metric) for start, kind in zip(starts, kinds, strict=False) if kind.values]
        self._starts = np.array([start for start, _ in kept], dtype=np.intp)
        self._least, self._most = np.array([possible_range(metric) for _, metric in kept]).reshape(-1, 2).T

    def check(self, numbers: array[float]) -> None:
        """Raise ValueError where a number is outside of the range of its metric."""
        import numpy as np  # noqa: PLC0415

        values = np.asarray(numbers)
        if self._starts.size and not (
            (np.minimum.reduceat(values, self._starts) >= self._least).all()
            and (np.maximum.reduceat(values, self._starts) <= self._most).all()
        ):
            raise ValueError("a value is impossible")


def _leaner(part: Frozen) -> Frozen:
    """Return a part of a result in less memory, with the parts of it."""
    return lean(part, **{name: lean(own) for name, own in part if isinstance(own, Frozen)})


def _part(model: type[M], text: bytes) -> M:
    parsed(text)
    return model.model_validate_json(text)


def _table(before: bytes, after: bytes, rows: int, classes: int) -> Predictions:
    """Return predictions with zeros as logits, whose number alone is validated, between these texts."""
    zeros = json.dumps([[0.0] * classes] * rows).encode()
    return _part(Predictions, b"{%s%s%s}" % (before, zeros, after))


def _cut(text: bytes, name: bytes, opening: bytes, closing: bytes) -> tuple[bytes, bytes | None]:
    """Return a result's text with null as this member, and the text between the braces of the member.

    Where it has none, return the whole text, and None.
    """
    before, found, rest = text.partition(name + opening)
    if not found:
        return text, None
    inside, end, after = rest.partition(closing + b"," + _KEY)
    if not end:
        raise ValueError("another layout")
    return b"".join([before, name, b"null,", _KEY, after]), inside


def _members(text: bytes) -> dict[str, bytes]:
    """Return the members of a result, as text by key, cut where a line begins like one of its keys."""
    before, *parts = text.split(_KEY)
    named = [part.partition(b'": ') for part in parts]
    found = {name.decode(): value.removesuffix(b",") for name, _, value in named}
    commas = [value.endswith(b",") for _, _, value in named]
    if before or len(found) < len(parts) or any(commas[-1:]) or not all(commas[:-1]):
        raise ValueError("another layout, or a key that occurs twice")
    return found


def _object(members: Mapping[str, bytes]) -> bytes:
    return b"{" + b", ".join(b'"%s": %s' % (name.encode(), value) for name, value in members.items()) + b"}"


def _numbers(text: bytes) -> list[float]:
    """Return the numbers of a list without its brackets."""
    if text.translate(None, _OF_NUMBERS):
        raise ValueError("no numbers")
    found: list[float] = pydantic_core.from_json(b"[%s]" % text)
    # A number beyond the largest float is parsed as infinite.
    if not math.isfinite(sum(found)):
        raise ValueError("a number is not finite")
    return found


def _rows(text: bytes) -> Logits:
    """Return the logits of a list of lists of equal length."""
    classes = text[: text.find(b"]")].count(b",") + 1
    rows = text.count(b"[") - 1
    if rows * classes > len(text) or text.translate(None, _DIGITS) != _brackets(rows, classes):
        raise ValueError("no rows of numbers")
    # Each place between commas has a number, or this is no JSON.
    return Logits.of_numbers(_numbers(text.translate(None, b"[]\n")), classes)


@lru_cache(maxsize=_MOST_TABLES)
def _brackets(rows: int, classes: int) -> bytes:
    """Return the text of rows without their numbers."""
    row = _ROW + b", " * (classes - 1) + b"]"
    return b"[" + b",".join([row] * rows) + _LAST_ROW


def parsed(data: bytes) -> Any:
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
