"""Charts of lines: series with ribbons, and the slopes between machines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from harness.output.drawings import Line, Lines, Slope
from harness.output.plot.marks import (
    LINE,
    WIDTH,
    across_axis,
    coloured,
    cut,
    hint,
    key,
    line,
    ribbon,
    segment,
    shape,
    shape_at,
    tag,
    up_axis,
    width_of,
    words,
)
from harness.output.plot.scales import Scale, scale, tick_words
from harness.output.plot.scales import words as value_words

_TOP: Final = 30.0
_HIGH: Final = 190.0
_RIGHT: Final = WIDTH - 12
_NAMES: Final = 130.0
_COLUMN: Final = 34.0


def lines(drawing: Lines) -> tuple[str, float]:
    """Draw the ribbons, then the lines over them; return the marks and the height."""
    names = list(dict.fromkeys(each.label for each in drawing.lines))
    samples = [(partial(_sample, at), name) for at, name in enumerate(names)]
    laid, below = key(samples, 14.0)
    top, bottom = below + _TOP - 8, below + _TOP + _HIGH
    every = [sample for each in drawing.lines for sample in each.samples]
    ys = [value for sample in every for value in (sample.y, *(sample.band or ()))]
    y = scale(drawing.y, ys, bottom, top)
    left = max(width_of(tick_words(y.axis, tick)) for tick in y.ticks) + 10
    x = scale(drawing.x, [sample.x for sample in every], left, _RIGHT)
    ribbons = [_ribbon(each, names.index(each.label), x, y) for each in drawing.lines]
    thin = [_thin(drawing, name, at, x, y) for at, name in enumerate(names)]
    thick = [
        _line(drawing, each, names.index(each.label), x, y) for each in drawing.lines if each.seed is None
    ]
    return "".join(
        [laid, up_axis(y, left, _RIGHT), across_axis(x, top, bottom), *ribbons, *thin, *thick]
    ), bottom + 34


def _sample(place: int, x: float, y: float) -> str:
    return coloured(place, line([(x - 8, y), (x + 8, y)]), shape(shape_at(place), x, y, 3.0), dashed=True)


def _ribbon(each: Line, place: int, x: Scale, y: Scale) -> str:
    bands = [(x.at(sample.x), sample.band) for sample in each.samples if sample.band is not None]
    if len(bands) < 2:
        return ""
    upper = [(at, y.at(band[1])) for at, band in bands]
    lower = [(at, y.at(band[0])) for at, band in bands]
    return coloured(place, ribbon(upper, lower))


def _thin(drawing: Lines, name: str, place: int, x: Scale, y: Scale) -> str:
    """Return the lines of the seeds of a variant."""
    seeds = [each.samples for each in drawing.lines if each.label == name and each.seed is not None]
    drawn = [line([(x.at(each.x), y.at(each.y)) for each in samples], thin=True) for samples in seeds]
    return tag("g", coloured(place, *drawn), opacity="0.5") if drawn else ""


def _line(drawing: Lines, each: Line, place: int, x: Scale, y: Scale) -> str:
    points = [(x.at(sample.x), y.at(sample.y)) for sample in each.samples]
    drawn = line(points) if len(points) > 1 else ""
    # A mark on few samples tells the lines apart where all strokes are black.
    every = 1 if len(points) <= 12 else len(points) // 4
    marked = [shape(shape_at(place), *point, 3.0) for point in points[::every]]
    last = value_words(drawing.y, each.samples[-1].y) if each.samples else ""
    told = hint(f"{each.label}: {last} {drawing.y.title} at the end")
    return coloured(place, told, drawn, *marked, dashed=True)


def slope(drawing: Slope) -> tuple[str, float]:
    """Draw one line for each variant over the columns; return the marks and the height."""
    values = [value for _, line_values in drawing.lines for value in line_values if value is not None]
    top, bottom = _TOP + _COLUMN, _TOP + _COLUMN + max(_HIGH, LINE * len(drawing.lines))
    y = scale(drawing.axis, [1.0, *values], bottom, top)
    left = max(width_of(tick_words(y.axis, tick)) for tick in y.ticks) + 10
    columns = len(drawing.columns)
    half = min((WIDTH - _NAMES - left) / columns / 2, 60.0)
    reach = WIDTH - _NAMES - left - 2 * half
    xs = [left + half + reach * at / max(columns - 1, 1) for at in range(columns)]
    parts = [up_axis(y, left, WIDTH - _NAMES, title=12.0)]
    for at, (x, column) in enumerate(zip(xs, drawing.columns, strict=True)):
        # Neighbours alternate between two heights, so that long names of devices do not touch.
        parts.append(segment(x, top, x, bottom, quiet=True))
        room = (reach / max(columns - 1, 1)) * 2 - 8 if columns > 2 else half + reach / 2 + 30
        shown = cut(column, min(room, WIDTH - 20))
        shift = min(max(x, width_of(shown) / 2 + 2), WIDTH - width_of(shown) / 2 - 2)
        parts.append(words(shift, top - 8 - (LINE if at % 2 else 0), shown, anchor="middle"))
    parts += _slopes(drawing, xs, y)
    return "".join(parts), bottom + 10


def _slopes(drawing: Slope, xs: Sequence[float], y: Scale) -> list[str]:
    parts, ends = [], []
    for at, (label, values) in enumerate(drawing.lines):
        points = [(x, y.at(value)) for x, value in zip(xs, values, strict=True) if value is not None]
        if not points:
            continue
        told = ", ".join(
            f"{column} {value_words(drawing.axis, value)}"
            for column, value in zip(drawing.columns, values, strict=True)
            if value is not None
        )
        drawn = line(points) if len(points) > 1 else ""
        marks = [shape(shape_at(at), *point) for point in points]
        parts.append(coloured(at, hint(f"{label}: {told}"), drawn, *marks))
        ends.append((points[-1], label))
    return [*parts, *_named(ends, y)]


def _named(ends: Sequence[tuple[tuple[float, float], str]], y: Scale) -> list[str]:
    """Return the names right of the last column, pushed apart, with leader lines to their points."""
    parts: list[str] = []
    left = WIDTH - _NAMES + 8
    lowest = y.end - LINE
    for place, ((px, py), label) in enumerate(sorted(ends, key=lambda end: end[0][1])):
        rest = len(ends) - place - 1
        at = min(max(py, lowest + LINE), max(y.start - rest * LINE, lowest + LINE))
        lowest = at
        parts += [segment(px + 6, py, left - 2, at, quiet=True), words(left, at + 4, label, room=_NAMES - 10)]
    return parts
