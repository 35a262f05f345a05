"""The charts of a history: a small one for each line and metric, with the noise band of each segment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from harness.analysis.series import Line, Track
from harness.model.metrics import metric_named
from harness.output.document import Chart
from harness.output.drawings import Axis, Interval, Lines, Sample, Unit
from harness.output.drawings import Line as DrawnLine
from harness.output.numbers import amount
from harness.words import count

MOST_DRAWN: Final = 24
_UNITS: Final[dict[str, Unit]] = {"s": "seconds", "B": "bytes"}


def history_charts(rows: Sequence[tuple[Line, Track]]) -> tuple[Chart, ...]:
    """Return a chart for each track of two points or more, the first ones of many."""
    drawn = [(line, track) for line, track in rows if len(track.points) > 1]
    machines = len({line.machine for line, _ in drawn})
    left = (f"the first {MOST_DRAWN} of {len(drawn)} series; the tables have all",)
    return tuple(
        _chart(line, track, place, machines, left if len(drawn) > MOST_DRAWN and not place else ())
        for place, (line, track) in enumerate(drawn[:MOST_DRAWN])
    )


def _chart(line: Line, track: Track, place: int, machines: int, notes: tuple[str, ...]) -> Chart:
    label, values = metric_named(track.metric).label, track.values
    where = f" on {line.machine}" if machines > 1 else ""
    marked = sum(not change.pending for change in track.changes)
    lines = [DrawnLine(label, tuple(Sample(at, value) for at, value in enumerate(values, start=1)))]
    if track.band is not None:
        lines.append(DrawnLine("median and noise band", tuple(_medians(track))))
    return Chart(
        f"series-{place}",
        f"{label}: {line.label}{where}",
        f"{amount(track.metric, values[0])} in the first report, {amount(track.metric, values[-1])} in the "
        f"last of {len(values)}; {count(marked, 'change')} beyond the noise",
        Lines(Axis("report", "count", cut=True), Axis(label, _unit(track.metric), cut=True), tuple(lines)),
        notes=(f"the axis of {label} does not start at zero", *notes),
        repeats=True,
    )


def _medians(track: Track) -> Iterator[Sample]:
    """Yield the ends of each segment between changes, at its median with the noise band around it."""
    edges = [0, *(change.at for change in track.changes if not change.pending), len(track.values)]
    for start, end in pairwise(edges):
        middle = median(track.values[start:end])
        for at in dict.fromkeys((start + 1, end)):
            yield Sample(at, middle, _around(track, middle))


def _around(track: Track, middle: float) -> Interval | None:
    if track.band is None:
        return None
    width = track.band.width
    if metric_named(track.metric).bounded:
        return middle - width, middle + width
    return middle / (1 + width), middle * (1 + width)


def _unit(metric: str) -> Unit:
    about = metric_named(metric)
    if about.shown == "percent":
        return "percent"
    return "rate" if about.unit.endswith("/s") else _UNITS.get(about.unit, "number")
