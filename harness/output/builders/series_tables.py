"""The series of a folder of reports as a document: a row for each line and metric, and the changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from harness.analysis.over_time.series import CONFIRMED_BY, LEAST_VALUES, Change, Line, Point, Series, Track
from harness.model.metrics import metric_named
from harness.output.builders.trials import plain_seed
from harness.output.document import Chart, Column, Document, Table, Tone, Value
from harness.output.drawings import Axis, Interval, Lines, Sample, Unit
from harness.output.drawings import Line as DrawnLine
from harness.output.numbers import NOTHING, amount, points
from harness.words import count

_LEVELS: Final = "▁▂▃▄▅▆▇█"
_LONGEST_TREND: Final = 24
_SHORT: Final = 12

Row = tuple[Line, Track]


def history_document(series: Series, problems: Sequence[str] = ()) -> Document:
    """Return the document of the series; `problems` are sentences about reports that could not be read."""
    rows = [(line, track) for line in series.lines for track in line.tracks if track.points]
    changes = [(line, track, change) for line, track in rows for change in track.changes]
    marked = sum(not change.pending for _, _, change in changes)
    assets = dict.fromkeys(each for line in series.lines for each in line.assets)
    return Document(
        kind="history",
        title=f"{count(series.reports, 'report')}, {count(len(series.lines), 'line')}: "
        f"{count(marked, 'change')} beyond the noise",
        model={"lines": [_model(line) for line in series.lines], "notes": [*problems, *series.notes]},
        tables=(
            Table("Lines", _columns(rows)),
            *([Table("Changes", _changes(changes))] if changes else []),
        ),
        details=[Table(f"{line.label} on {line.machine}", _values(line)) for line in series.lines],
        charts=history_charts(rows),
        notes=(*problems, *assets, *series.notes, *_advice(rows)),
        records=list(_records(series)),
    )


def _columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    lines, tracks = [line for line, _ in rows], [track for _, track in rows]
    firsts = (amount(track.metric, track.values[0]) for track in tracks)
    return (
        Column("variant", tuple(line.label for line in lines), numeric=False),
        Column("machine", tuple(line.machine for line in lines), numeric=False),
        Column("data", tuple(line.data[:_SHORT] for line in lines), numeric=False, dispensable=True),
        Column("metric", tuple(metric_named(track.metric).label for track in tracks), numeric=False),
        Column("points", tuple(str(len(track.points)) for track in tracks)),
        Column("trend", tuple(sparkline(track.values) for track in tracks), numeric=False),
        Column("first", tuple(firsts), dispensable=True),
        Column("last", tuple(amount(track.metric, track.values[-1]) for track in tracks)),
        Column("band", tuple(map(_band, tracks)), dispensable=True),
        Column("changes", tuple(map(_marked, tracks))),
    )


def _changes(found: Sequence[tuple[Line, Track, Change]]) -> tuple[Column, ...]:
    at = [track.points[change.at] for _, track, change in found]
    tones = tuple(_tone(track, change) for _, track, change in found)
    words = tuple(_difference(track, change) for _, track, change in found)
    return (
        Column("variant", tuple(line.label for line, _, _ in found), numeric=False),
        Column("machine", tuple(line.machine for line, _, _ in found), numeric=False),
        Column("metric", tuple(metric_named(track.metric).label for _, track, _ in found), numeric=False),
        Column("change", words, tones=tones),
        Column("before", tuple(amount(track.metric, change.before) for _, track, change in found)),
        Column("after", tuple(amount(track.metric, change.after) for _, track, change in found)),
        Column("date", tuple(f"{point.when:%Y-%m-%d %H:%M}" for point in at), numeric=False),
        Column("commit", tuple(_commit(point) for point in at), numeric=False),
        Column("run", tuple(point.report.run for point in at), numeric=False),
        Column(
            "state",
            tuple("pending" if change.pending else "marked" for _, _, change in found),
            numeric=False,
        ),
    )


def _values(line: Line) -> tuple[Column, ...]:
    """Return one row for each point of a line, the data of its chart."""
    return (
        Column("date", tuple(f"{point.when:%Y-%m-%d %H:%M}" for point in line.points), numeric=False),
        Column("commit", tuple(map(_commit, line.points)), numeric=False),
        Column("run", tuple(point.report.run for point in line.points), numeric=False),
        Column("seeds", tuple(str(len(point.seeds)) for point in line.points)),
        *(
            Column(
                metric_named(track.metric).label,
                tuple(_value(track, point) for point in line.points),
                tones=tuple(_tone_at(track, point) for point in line.points),
            )
            for track in line.tracks
        ),
    )


def sparkline(values: Sequence[float]) -> str:
    """Return the newest values as bars of eight heights, from the smallest to the largest of them.

    >>> sparkline([1.0, 1.0, 2.0, 3.0])
    '▁▁▅█'
    """
    shown = values[-_LONGEST_TREND:]
    low, high = min(shown), max(shown)
    if high == low:
        return _LEVELS[3] * len(shown)
    steps = len(_LEVELS) - 1
    return "".join(_LEVELS[math.floor(steps * (value - low) / (high - low) + 0.5)] for value in shown)


def _value(track: Track, point: Point) -> str:
    text = amount(track.metric, point.values.get(track.metric))
    found = _change_at(track, point)
    return text if found is None else f"{text} ({_difference(track, found)})"


def _change_at(track: Track, point: Point) -> Change | None:
    return next((each for each in track.changes if track.points[each.at] is point), None)


def _tone_at(track: Track, point: Point) -> Tone:
    found = _change_at(track, point)
    return "" if found is None else _tone(track, found)


def _tone(track: Track, change: Change) -> Tone:
    if change.pending:
        return ""
    better = (change.after > change.before) == (metric_named(track.metric).goal == "max")
    return "good" if better else "bad"


def _difference(track: Track, change: Change) -> str:
    if metric_named(track.metric).shown == "percent":
        return points(change.after - change.before)
    if metric_named(track.metric).bounded:
        return f"{change.after - change.before:+.3f}"
    return f"{100 * (change.after / change.before - 1):+.1f} %"


def _band(track: Track) -> str:
    if track.band is None:
        return NOTHING
    if metric_named(track.metric).shown == "percent":
        return f"±{100 * track.band.width:.2g} points"
    return (
        f"±{track.band.width:.2g}"
        if metric_named(track.metric).bounded
        else f"±{100 * track.band.width:.2g} %"
    )


def _marked(track: Track) -> str:
    if track.band is None:
        return NOTHING
    marked = sum(not change.pending for change in track.changes)
    return f"{marked} + 1 pending" if marked < len(track.changes) else str(marked)


def _commit(point: Point) -> str:
    commit, _, dirty = point.commit.partition("-")
    return f"{commit[:_SHORT]}{'-' if dirty else ''}{dirty}" or NOTHING


def _advice(rows: Sequence[Row]) -> Iterator[str]:
    if any(track.band is None for _, track in rows):
        yield (
            f"no noise band, thus no marks: fewer than {LEAST_VALUES} points and no calibration over "
            "two states: `harness calibrate SUITE --spread 10m` measures one, --band 3% sets one"
        )
    if any(change.pending for _, track in rows for change in track.changes):
        yield f"pending: the last point alone; {CONFIRMED_BY} points outside the band make a change"
    origins = {
        f"band of {metric_named(track.metric).label}: from {track.band.origin}"
        for _, track in rows
        if track.band
    }
    yield from sorted(origins)


def _model(line: Line) -> dict[str, object]:
    return {
        "label": line.label,
        "variant": line.variant,
        "machine": line.machine,
        "data": line.data,
        "weights": line.weights,
        "inputs": dict(line.conditions),
        "assets": list(line.assets),
        "points": [
            {
                "when": point.when.isoformat(),
                "commit": point.commit or None,
                "run": point.report.run,
                "seeds": list(map(plain_seed, point.seeds)),
                "values": dict(point.values),
            }
            for point in line.points
        ],
        "metrics": {track.metric: _track(line, track) for track in line.tracks},
    }


def _track(line: Line, track: Track) -> dict[str, object]:
    return {
        "unit": metric_named(track.metric).unit,
        "band": None if track.band is None else {"width": track.band.width, "origin": track.band.origin},
        "changes": [
            {
                "point": line.points.index(track.points[change.at]),
                "before": change.before,
                "after": change.after,
                "pending": change.pending,
            }
            for change in track.changes
        ],
    }


def _records(series: Series) -> Iterator[dict[str, Value]]:
    """Return a row for each point, as the CSV importer of Apache Otava reads it.

    `time` is its time column, `branch` the column by which `--branch` selects one line, the metrics are its
    metric columns and the rest attributes.
    """
    for line in series.lines:
        for point in line.points:
            yield {
                "time": point.when.isoformat(),
                "commit": point.commit,
                "branch": f"{line.label} {line.machine} {line.inputs}",
                "run": point.report.run,
                "variant": line.variant,
                "machine": line.machine,
                "data": line.data,
                "weights": line.weights,
                "seeds": len(point.seeds),
                "assets": "; ".join(line.assets),
                **{metric: point.values.get(metric) for metric in series.metrics},
            }


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
