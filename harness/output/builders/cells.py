"""The columns of a report's main table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from harness.analysis.naming import only_tokenise
from harness.analysis.observed import UNMOVED
from harness.analysis.rows import Estimate, Row, Tokenizing
from harness.model.results import Report
from harness.output.builders.remarks import attention_remarks, remarks, status
from harness.output.document import Column, Tone
from harness.output.numbers import NOTHING, duration, percent, rate, size

_LESS_NEEDED: Final = frozenset(
    {"padding efficiency", "train time", "device memory", "host memory", "FLOPs use"}
)

_BAD: Final = ("failed", "degenerate", "fails parity", "fails training proof", UNMOVED)


def columns(report: Report, rows: Sequence[Row]) -> list[Column]:
    """The columns, variant first, status and remarks last; those of training or those of tokenising.

    With a reference in the suite, one more line ends the table: the numbers published.
    """
    devices = len({row.trial.device for row in rows})
    attention = {variant: [words] for variant, words in attention_remarks(report).items()}
    numbers = _OF_TOKENIZING if only_tokenise(row.trial for row in rows) else _of_training(rows)
    words: dict[str, Callable[[Row], str]] = {
        "status": status,
        "remarks": lambda row: ", ".join([*remarks(row, devices), *attention.get(row.variant, ())]),
    }
    last = _reference(report)
    return [
        Column("variant", _cells(rows, lambda row: row.label, last, "variant"), numeric=False),
        *(
            Column(name, _cells(rows, text, last, name), dispensable=name in _LESS_NEEDED)
            for name, text in numbers.items()
        ),
        *(
            Column(name, cells, numeric=False, tones=tuple(map(_tone, cells)))
            for name, cells in ((name, _cells(rows, text, last, name)) for name, text in words.items())
        ),
    ]


def _tone(words: str) -> Tone:
    """The tone of a status or of remarks."""
    if "fastest" in words:
        return "good"
    return "bad" if any(word in words for word in _BAD) else ""


def _of_training(rows: Sequence[Row]) -> dict[str, Callable[[Row], str]]:
    """Quality, speed and memory; FLOPs use only where it was measured."""
    numbers: dict[str, Callable[[Row], str]] = {
        "accuracy": lambda row: _quality(row.accuracy),
        "F1": lambda row: _quality(row.f1),
        "real tokens/s": _rate_and_range,
        "padding efficiency": lambda row: percent(row.padding_efficiency),
        "train time": lambda row: duration(row.train_seconds),
    }
    kinds = dict.fromkeys(row.peak_memory_of for row in rows if row.peak_memory_of)
    for kind in kinds:
        numbers[f"{kind} memory"] = partial(_memory, kind=kind)
    if any(row.model_flops_utilization is not None for row in rows):
        numbers["FLOPs use"] = lambda row: percent(row.model_flops_utilization)
    return numbers


def _tokenizing(text: Callable[[Tokenizing], str]) -> Callable[[Row], str]:
    return lambda row: NOTHING if row.tokenizing is None else text(row.tokenizing)


_OF_TOKENIZING: Final[dict[str, Callable[[Row], str]]] = {
    "time": _tokenizing(lambda found: duration(found.seconds)),
    "examples/s": _tokenizing(lambda found: rate(found.examples_per_second)),
    "real tokens/s": _tokenizing(lambda found: rate(found.tokens_per_second)),
    "added memory": _tokenizing(lambda found: size(found.added_memory_bytes)),
}


def _cells(
    rows: Sequence[Row], text: Callable[[Row], str], last: dict[str, str], name: str
) -> tuple[str, ...]:
    return (*map(text, rows), *([last.get(name, "")] if last else []))


def _reference(report: Report) -> dict[str, str]:
    published = report.suite.reference
    if not published:
        return {}
    return {
        "variant": "reference",
        "accuracy": percent(published.get("eval_accuracy")),
        "F1": percent(published.get("eval_f1")),
        "status": "published",
    }


def _rate_and_range(row: Row) -> str:
    """`25.6k`, or `25.6k (24.9k-26.3k)`: the median, and the range over several trials."""
    middle = rate(row.real_tokens_per_second)
    if row.speed_range is None:
        return middle
    low, high = row.speed_range
    return f"{middle} ({rate(low)}-{rate(high)})"


def _quality(found: Estimate | None) -> str:
    return NOTHING if found is None else percent(found.mean, found.spread)


def _memory(row: Row, kind: str) -> str:
    return size(row.peak_memory_bytes) if row.peak_memory_of == kind else NOTHING
