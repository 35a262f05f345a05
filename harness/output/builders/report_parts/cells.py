"""The columns of a report's main table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from harness.analysis.checks.observed import UNMOVED
from harness.analysis.compilation import recompiled
from harness.analysis.naming import only_tokenise
from harness.analysis.rows import Estimate, Row, Tokenizing
from harness.analysis.summary import PEAK_MEMORY, estimate
from harness.model.metrics import metric_named
from harness.model.quality import OwnScores
from harness.model.results import Report, TrialResult
from harness.model.tasks import quality_headlines
from harness.output.builders.report_parts.remarks import attention_remarks, remarks, status
from harness.output.document import Column, Tone
from harness.output.numbers import NOTHING, amount, duration, percent, rate, significant, size
from harness.words import count

Cells = dict[str, Callable[[Row], str]]

_BAD: Final = ("failed", "degenerate", "fails parity", "fails training proof", UNMOVED)


def columns(report: Report, rows: Sequence[Row]) -> list[Column]:
    """The columns, variant first, status and remarks last; those of training or those of tokenising.

    With a reference in the suite, one more line ends the table: the numbers published.
    """
    devices = len({row.trial.device for row in rows})
    attention = {variant: [words] for variant, words in attention_remarks(report).items()}
    compiled = {
        variant: [f"recompiled {count(graphs, 'time')} while timed"]
        for variant, graphs in recompiled(report, rows).items()
    }
    tokenizing = only_tokenise(row.trial for row in rows)
    numbers = _OF_TOKENIZING if tokenizing else _of_training(rows)
    words: Cells = {
        "status": status,
        "remarks": lambda row: ", ".join(
            [*remarks(row, devices), *attention.get(row.variant, ()), *compiled.get(row.variant, ())]
        ),
    }
    published = report.suite.reference
    ends = {"variant": "reference", "status": "published"} if published else {}
    return [
        Column("variant", _cells(rows, lambda row: row.label, ends, "variant"), numeric=False),
        *(
            Column(
                metric_named(metric).label,
                _cells(rows, text, ends and {metric: _published(metric, published)}, metric),
                dispensable=not tokenizing
                and metric_named(metric).family != "quality"
                and metric_named(metric).headline is None,
            )
            for metric, text in numbers.items()
        ),
        *(
            Column(found.label, _cells(rows, partial(_own, report.variants(), found), ends, found.label))
            for found in report.own_metrics
        ),
        *(
            Column(name, cells, numeric=False, tones=tuple(map(_tone, cells)))
            for name, cells in ((name, _cells(rows, text, ends, name)) for name, text in words.items())
        ),
    ]


def _own(variants: Mapping[str, Sequence[TrialResult]], found: OwnScores, row: Row) -> str:
    """The mean over the sound trials of a row by a user's metric, with the spread over several."""
    scores = [found.scores.get(result.trial.id) for result in variants[row.variant] if result.sound]
    mean = None if row.mixed else estimate(None if score is None else score.value for score in scores)
    if mean is None:
        return NOTHING
    spread = "" if mean.spread is None else f" ±{significant(mean.spread, 2)}"
    return f"{significant(mean.mean)}{spread}"


def _tone(words: str) -> Tone:
    """The tone of a status or of remarks."""
    if "fastest" in words:
        return "good"
    return "bad" if any(word in words for word in _BAD) else ""


def _of_training(rows: Sequence[Row]) -> Cells:
    """Quality, speed and memory by metric; MFU only where it was measured."""
    quality = quality_headlines(row.trial.task for row in rows)
    numbers: Cells = {
        **{metric: partial(_quality, metric=metric) for metric in quality},
        "train_real_tokens_per_second": _rate_and_range,
        "padding_efficiency": lambda row: percent(row.padding_efficiency),
        "train_seconds": lambda row: duration(row.train_seconds),
    }
    for kind in dict.fromkeys(row.peak_memory_of for row in rows if row.peak_memory_of):
        numbers[PEAK_MEMORY[kind]] = partial(_memory, kind=kind)
    if any(row.model_flops_utilization is not None for row in rows):
        numbers["model_flops_utilization"] = lambda row: percent(row.model_flops_utilization)
    return numbers


def _tokenizing(text: Callable[[Tokenizing], str]) -> Callable[[Row], str]:
    return lambda row: NOTHING if row.tokenizing is None else text(row.tokenizing)


_OF_TOKENIZING: Final[Cells] = {
    "tokenize_seconds": _tokenizing(lambda found: duration(found.seconds)),
    "tokenize_examples_per_second": _tokenizing(lambda found: rate(found.examples_per_second)),
    "tokenize_tokens_per_second": _tokenizing(lambda found: rate(found.tokens_per_second)),
    "tokenize_memory_bytes": _tokenizing(lambda found: size(found.added_memory_bytes)),
}


def _cells(
    rows: Sequence[Row], text: Callable[[Row], str], last: dict[str, str], name: str
) -> tuple[str, ...]:
    return (*map(text, rows), *([last.get(name, "")] if last else []))


def _published(metric: str, reference: Mapping[str, float]) -> str:
    if metric_named(metric).family != "quality":
        return ""
    return amount(metric, reference.get(metric))


def _rate_and_range(row: Row) -> str:
    """`25.6k`, or `25.6k (24.9k-26.3k)`: the median, and the range over several trials."""
    middle = rate(row.real_tokens_per_second)
    if row.speed_range is None:
        return middle
    low, high = row.speed_range
    return f"{middle} ({rate(low)}-{rate(high)})"


def _quality(row: Row, metric: str) -> str:
    return mean_and_spread(metric, row.quality.get(metric))


def mean_and_spread(metric: str, found: Estimate | None) -> str:
    """Format an estimate: `85.8 ±0.6 %` for a share of one, `0.412` for any other metric."""
    if found is None or metric_named(metric).shown != "percent":
        return amount(metric, None if found is None else found.mean)
    return percent(found.mean, found.spread)


def _memory(row: Row, kind: str) -> str:
    return size(row.peak_memory_bytes) if row.peak_memory_of == kind else NOTHING
