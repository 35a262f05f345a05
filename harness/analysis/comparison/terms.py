"""Terms: the options of a comparison that apply to all of its rows, and their limits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.analysis.comparison.conditions import check_allowed
from harness.analysis.comparison.sessions import Turns
from harness.analysis.naming import only_tokenise
from harness.analysis.stats.ratios import RunVariance
from harness.errors import InvalidInputError
from harness.model.metrics import (
    METRICS,
    OWN,
    headlines,
    is_metric,
    is_own,
    metric_named,
    metrics_of,
    score_and_split,
)
from harness.model.results import Report
from harness.model.tasks import Task, quality_headlines, training_headlines
from harness.model.trial import Trial
from harness.words import did_you_mean, quoted

DEFAULT_MARGIN: Final = 0.02


@dataclass(frozen=True, slots=True)
class Terms:
    """The options that apply to every row of a comparison; as in `compare`.

    `apart` are axes that differ by intent. `one_run` is true where both sides belong to one run of the
    machine, `interleaved` where their trials also took turns, which `turns` decides for each pair of variants
    of one report. `run_variance` is the variance between runs, by metric, where it was measured. `asked` is
    false where the metrics are the default ones of all tasks.
    """

    metrics: tuple[str, ...]
    margins: Mapping[str, float]
    allowed: frozenset[str] = frozenset()
    noise: Mapping[str, float] = field(default_factory=dict)
    apart: frozenset[str] = frozenset()
    interleaved: bool = False
    one_run: bool = False
    turns: Turns | None = None
    run_variance: Mapping[str, RunVariance] = field(default_factory=dict)
    asked: bool = True

    def metrics_of(self, task: Task) -> Iterator[str]:
        """Yield the metrics to compare for trials of a task: by default not the scores of other tasks."""
        own = quality_headlines([task])
        for metric in self.metrics:
            score = metric_named(metric).family == "quality" and not is_own(metric)
            if self.asked or not score or metric in own:
                yield metric


def varies_between_runs(metric: str) -> bool:
    """Return whether the state of the machine, which differs from run to run, changes this metric."""
    # Memory depends on the machine, but not on how fast it was.
    return metric_named(metric).family in ("time", "machine")


def default_metrics(reports: Sequence[Report]) -> tuple[str, ...]:
    """Return the metrics to compare by default, which for trials that only tokenize are others.

    Users' metrics follow those of the table.
    """
    of_table = metrics_of_trials([result.trial for report in reports for result in report.results])
    own = [OWN + found.label for report in reports for found in report.own_metrics]
    return (*of_table, *dict.fromkeys(own))


def metrics_of_trials(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Return the metrics of the table to compare by default for these trials."""
    if only_tokenise(trials):
        return headlines("tokenizing")
    return training_headlines(trial.task for trial in trials)


def checked_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics to compare, each once.

    Raises:
        InvalidInputError: A metric is unknown or has no direction, or there is none.
    """
    chosen = tuple(dict.fromkeys(metrics))
    for metric in chosen:
        if not is_metric(metric):
            raise InvalidInputError(
                f"there is no metric {quoted(metric)}{did_you_mean(metric, list(METRICS))}"
            )
        if not is_own(metric) and metric_named(metric).goal == "none":
            raise InvalidInputError(
                f"{metric} has no better direction, so there is no verdict on it", hint="Choose another one."
            )
    if not chosen:
        raise InvalidInputError("no metric to compare", hint=f"The metrics are: {', '.join(METRICS)}.")
    return chosen


def margins_of(margin: float | Mapping[str, float], metrics: Sequence[str]) -> dict[str, float]:
    """Return the margin of equivalence of each quality metric with a finite range, in the metric's unit.

    A single number is a share of the metric's range: 0.02 is two points of accuracy or F1, and 0.04 of MCC,
    whose range is twice as wide. A mapping gives margins by metric; the rest take the default.

    Raises:
        InvalidInputError: A margin is out of range, or given for a metric that has none.
    """
    scores = (*metrics_of("quality"), *(name for name in metrics if score_and_split(name)[1] is not None))
    rows = {metric: metric_named(metric) for metric in scores}
    ranges = {metric: (row.least, row.most) for metric, row in rows.items() if row.bounded}
    share = DEFAULT_MARGIN if isinstance(margin, Mapping) else margin
    found = {metric: share * (high - low) for metric, (low, high) in ranges.items()}
    for metric, given in margin.items() if isinstance(margin, Mapping) else ():
        if metric not in ranges:
            raise InvalidInputError(
                f"there is no margin for {quoted(metric)}{did_you_mean(metric, list(ranges))}"
            )
        found[metric] = given
    for metric, value in found.items():
        low, high = ranges[metric]
        # As wide as the range, it would call every two scores the same.
        if not 0 < value < high - low:
            raise InvalidInputError(
                f"the margin {value:g} of {metric} is not above 0 and below {high - low:g}, its whole range",
                hint="It is in the metric's unit: 0.02, or 2%, is two points of accuracy.",
            )
    return {metric: value for metric, value in found.items() if metric in metrics}


def check_terms(allowed: Sequence[str], noise: Mapping[str, float]) -> None:
    """Refuse unknown names and values out of range.

    Raises:
        InvalidInputError: A name is unknown, or a value out of range.
    """
    check_allowed(allowed)
    for metric, band in noise.items():
        if metric not in METRICS or not 0 <= band < math.inf:
            raise InvalidInputError(
                f"the noise band {band:g} of {metric} is below 0 or not finite, or the metric is unknown",
                hint="Measure it again: `harness calibrate SUITE`.",
            )
