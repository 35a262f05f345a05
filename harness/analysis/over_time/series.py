"""Series: the values of a variant over the reports of one machine, and the changes beyond their noise.

A line contains the points of one variant on one machine with one set of inputs: data, checkpoint files, how
metrics are computed and how many steps are left out of the times. Each report gives one point; the points are
in order of the commit's date, or of the report's where no commit was recorded.

A change is marked at a point if that point and the next both lie outside the noise band around the median
of the segment before them, on the same side. A segment begins at the first point or at the last mark, and
needs two points. The first point outside after the last pair is pending: the next report decides.

The band is the largest difference of 95 % of all pairs of equal runs. Series without a change get a mark in
1 % of cases with a known band, and in about 5 % with that of the series itself: `python -m tools.simulate`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import NormalDist, fmean, median
from typing import Final

from harness.analysis.assets_used import asset_sentences
from harness.analysis.checks.inputs import INPUTS
from harness.analysis.comparison.conditions import CONDITIONS, environment_of
from harness.analysis.comparison.terms import DEFAULT_MARGIN, checked_metrics, margins_of
from harness.analysis.naming import labels, only_tokenise
from harness.analysis.over_time.earlier_trials import EarlierTrial, collect
from harness.errors import InvalidInputError
from harness.model.metrics import headlines, metric_named
from harness.model.results import Report
from harness.model.seeds import Seed
from harness.words import count

LEAST_VALUES: Final = 6
"""A series of fewer values gives no band."""

CONFIRMED_BY: Final = 2
LEAST_SEGMENT: Final = 2
_LEAST_BAND: Final = 0.001
_QUARTILE: Final = NormalDist().inv_cdf(0.75)
_COVERED: Final = NormalDist().inv_cdf(0.975)
_KEPT_EQUAL: Final = (*INPUTS, "warm_up")


@dataclass(frozen=True, slots=True)
class Band:
    """The noise band of a metric and its origin.

    `width` is a share of the smaller value, or for a score with a finite range a difference in its unit.
    """

    width: float
    origin: str


@dataclass(frozen=True, slots=True)
class Point:
    """The values of one report on one line by metric, over these seeds."""

    report: Report
    seeds: tuple[Seed, ...]
    values: Mapping[str, float]

    @property
    def when(self) -> datetime:
        """The date of the commit, or of the report if none was recorded."""
        git = self.report.environment.git
        return self.report.created if git is None or git.committed is None else git.committed

    @property
    def commit(self) -> str:
        """The commit, followed by `-dirty` if files differed from it; empty if unknown."""
        git = self.report.environment.git
        return "" if git is None else f"{git.commit}{'-dirty' if git.dirty else ''}"


@dataclass(frozen=True, slots=True)
class Change:
    """A change at the point `at` of a track: the medians of the segments before and after it.

    A pending one is the last point alone, which the next report confirms or not.
    """

    at: int
    before: float
    after: float
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Track:
    """One metric of a line: the points that have it, its noise band and its changes.

    Without a band, nothing is marked.
    """

    metric: str
    points: tuple[Point, ...]
    band: Band | None
    changes: tuple[Change, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """The value of each point."""
        return tuple(point.values[self.metric] for point in self.points)


@dataclass(frozen=True, slots=True)
class Line:
    """The points of one variant on one machine with one set of inputs.

    `machine` is the fingerprint, `inputs` a digest of `conditions`, which has the inputs in words by name.
    """

    label: str
    variant: str
    machine: str
    data: str
    weights: str
    inputs: str
    conditions: Mapping[str, str]
    assets: tuple[str, ...]
    points: tuple[Point, ...]
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """The lines of several reports, the requested metrics, and notes on omitted reports."""

    lines: tuple[Line, ...]
    metrics: tuple[str, ...]
    reports: int
    notes: tuple[str, ...]


def series_of(
    reports: Sequence[Report],
    metrics: Sequence[str] | None = None,
    *,
    band: float | None = None,
    calibrated: Mapping[str, Mapping[str, float]] | None = None,
) -> Series:
    """Return the lines of the reports.

    Args:
        reports: in any order; a trial in several of them counts once.
        metrics: None takes the headline metrics of trials that train, or of those that only tokenize.
        band: a noise band for every metric without a finite range, as a share.
        calibrated: by fingerprint and metric, the noise band between separate runs.

    Raises:
        InvalidInputError: A metric is unknown or has no better direction, or the band is not above 0.
    """
    if band is not None and not 0 < band < math.inf:
        raise InvalidInputError(f"the band {band:g} is not above 0", hint="Give a share: 0.03 or 3%.")
    collected = collect(reports, ())
    usable = [trial for trial in collected.trials if trial.flaw is None]
    trials = [trial.result.trial for trial in usable]
    chosen = checked_metrics(metrics or headlines("tokenizing" if only_tokenise(trials) else "training"))
    names = labels(trials)
    grouped: dict[tuple[str, ...], list[EarlierTrial]] = {}
    for trial in usable:
        grouped.setdefault(_key(trial), []).append(trial)
    lines = []
    for (variant, machine, *_), group in grouped.items():
        points = _points(group, chosen)
        if points:
            known = (calibrated or {}).get(machine, {})
            tracks = tuple(_track(metric, points, band, known) for metric in chosen)
            lines.append(_line(names[variant], machine, group[0], points, tracks))
    place = {variant: number for number, variant in enumerate(names)}
    lines.sort(key=lambda line: (place[line.variant], line.machine, line.points[0].when, line.inputs))
    return Series(
        tuple(lines), tuple(chosen), len(collected.reports), tuple(_notes(collected.trials, lines, chosen))
    )


def marks(values: Sequence[float], width: float) -> tuple[Change, ...]:
    """Return the changes beyond a band in a sequence, by the rule of this module.

    Args:
        values: in order of time.
        width: the largest difference from the median of a segment that is noise.

    >>> [(change.at, change.before) for change in marks([1.0, 1.1, 1.0, 3.0, 3.1, 3.0], 0.5)]
    [(3, 1.0)]
    """
    starts, place = [0], LEAST_SEGMENT
    while place <= len(values) - CONFIRMED_BY:
        if place - starts[-1] >= LEAST_SEGMENT and _outside(values, starts[-1], place, CONFIRMED_BY, width):
            starts.append(place)
        place += 1
    ends = [*starts[1:], len(values)]
    middles = [median(values[start:end]) for start, end in zip(starts, ends, strict=True)] if values else []
    found = [
        Change(start, before, after)
        for start, before, after in zip(starts[1:], middles, middles[1:], strict=False)
    ]
    last = len(values) - 1
    if last - starts[-1] >= LEAST_SEGMENT and _outside(values, starts[-1], last, 1, width):
        found.append(Change(last, median(values[starts[-1] : last]), values[last], pending=True))
    return tuple(found)


def _outside(values: Sequence[float], start: int, place: int, number: int, width: float) -> bool:
    middle = median(values[start:place])
    apart = [value - middle for value in values[place : place + number]]
    return min(apart) > width or max(apart) < -width


def spread_band(values: Sequence[float]) -> float | None:
    """Return the difference that 95 % of pairs of equal runs do not exceed, from the successive differences.

    Their median is not affected by a few changes. None with fewer than `LEAST_VALUES` values.
    """
    if len(values) < LEAST_VALUES:
        return None
    steps = [abs(after - before) for before, after in pairwise(values)]
    return median(steps) / _QUARTILE * _COVERED


def _key(trial: EarlierTrial) -> tuple[str, ...]:
    result, report = trial.result, trial.report
    return (
        result.trial.variant_id,
        environment_of(result, report).fingerprint,
        "unknown" if result.data is None else result.data.content_sha256,
        *(CONDITIONS[name].read(result, report) for name in _KEPT_EQUAL),
    )


def _points(group: Sequence[EarlierTrial], metrics: Sequence[str]) -> tuple[Point, ...]:
    by_report: dict[int, list[EarlierTrial]] = {}
    for trial in group:
        by_report.setdefault(id(trial.report), []).append(trial)
    found = []
    for trials in by_report.values():
        values = {metric: value for metric in metrics if (value := _value(trials, metric)) is not None}
        if values:
            seeds = tuple(sorted(trial.result.trial.seed for trial in trials))
            found.append(Point(trials[0].report, seeds, values))
    return tuple(sorted(found, key=lambda point: (point.when, point.report.created, point.report.run)))


def _value(trials: Iterable[EarlierTrial], metric: str) -> float | None:
    """Return the mean of a score over sound trials, and the median of any other metric."""
    row = metric_named(metric)
    values = [
        value
        for trial in trials
        if (value := trial.result.value(metric)) is not None
        and (row.family != "quality" or trial.result.sound)
        and not (row.depends_on_machine and trial.result.concurrent > 1)
        and (row.bounded or value > 0)
    ]
    if not values:
        return None
    return fmean(values) if row.family == "quality" else median(values)


def _track(metric: str, points: Sequence[Point], given: float | None, known: Mapping[str, float]) -> Track:
    having = tuple(point for point in points if metric in point.values)
    values = [point.values[metric] for point in having]
    if metric_named(metric).bounded:
        margin = margins_of(DEFAULT_MARGIN, [metric]).get(metric, 0.0)
        own = spread_band(values) or 0.0
        band = Band(max(own, margin), "these reports" if own > margin else "the margin of equal scores")
        return Track(metric, having, band, marks(values, band.width))
    logs = [math.log(value) for value in values]
    found = _relative_band(metric, logs, given, known)
    if found is None:
        return Track(metric, having, None, ())
    changes = tuple(
        Change(each.at, math.exp(each.before), math.exp(each.after), each.pending)
        for each in marks(logs, math.log1p(found.width))
    )
    return Track(metric, having, found, changes)


def _relative_band(
    metric: str, logs: Sequence[float], given: float | None, known: Mapping[str, float]
) -> Band | None:
    if given is not None:
        return Band(given, "--band")
    if metric in known:
        return Band(known[metric], "the calibration of its machine")
    own = spread_band(logs)
    return None if own is None else Band(max(math.expm1(own), _LEAST_BAND), "these reports")


def _line(
    label: str, machine: str, trial: EarlierTrial, points: tuple[Point, ...], tracks: tuple[Track, ...]
) -> Line:
    result, report = trial.result, trial.report
    conditions = {name: CONDITIONS[name].read(result, report) for name in _KEPT_EQUAL}
    texts = "\n".join(conditions.values())
    return Line(
        label=label,
        variant=result.trial.variant_id,
        machine=machine,
        data="unknown" if result.data is None else result.data.content_sha256,
        weights="unknown" if result.checkpoint is None else result.checkpoint.weights_sha256,
        inputs=hashlib.sha256(texts.encode("utf-8", "surrogatepass")).hexdigest()[:8],
        conditions=conditions,
        assets=asset_sentences([result]),
        points=points,
        tracks=tracks,
    )


def _notes(trials: Iterable[EarlierTrial], lines: Sequence[Line], metrics: Sequence[str]) -> Iterable[str]:
    flaws = dict.fromkeys(f"run {trial.report.run}: {trial.flaw}" for trial in trials if trial.flaw)
    yield from (f"left out: {flaw}" for flaw in flaws)
    on_machine = any(metric_named(metric).depends_on_machine for metric in metrics)
    if on_machine and any(trial.flaw is None and trial.result.concurrent > 1 for trial in trials):
        yield "left out: times and memory of trials that ran concurrently on a device"
    yield from _apart(lines)
    for line in lines:
        if len({point.seeds for point in line.points}) > 1 and any(
            metric_named(metric).family == "quality" for metric in metrics
        ):
            yield f"{line.label}: the seeds differ between reports, which changes scores without a cause"
    undated = {
        point.report.run
        for line in lines
        for point in line.points
        if point.report.environment.git is None or point.report.environment.git.committed is None
    }
    if undated:
        yield f"placed by the date of the report, without the date of a commit: {count(len(undated), 'run')}"


def _apart(lines: Sequence[Line]) -> Iterable[str]:
    """Return why a variant has several lines on one machine."""
    places: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        places.setdefault((line.variant, line.machine), []).append(line)
    for group in places.values():
        differing = [
            CONDITIONS[name].meaning
            for name in _KEPT_EQUAL
            if len({line.conditions[name] for line in group}) > 1
        ]
        if differing:
            yield f"{group[0].label}: {len(group)} lines on one machine, since {', '.join(differing)} differ"
