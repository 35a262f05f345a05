"""Charts of one row a variant: bars, and the forest of judged effects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from harness.output.drawings import Bar, Bars, Effect, Forest, Mark
from harness.output.plot.marks import (
    BAND,
    WIDTH,
    Sample,
    Shape,
    across_axis,
    anchored,
    bar,
    coloured,
    filled,
    hatch,
    key,
    over,
    segment,
    shape,
    tag,
    whisker,
    width_of,
    words,
)
from harness.output.plot.scales import Scale, scale
from harness.output.plot.scales import words as value_words

_LEFT: Final = 12.0
_RIGHT: Final = WIDTH - 14
_ROW: Final = 29.0
_FAR: Final = 4.0
# More values in a row leave no room for its name.
_MOST_WORDS: Final = 2
# The share of the width that the words of an effect may take from its name.
_WORDS: Final = 0.62
# Colour, shape, and hollow for undecided ones: never colour alone.
_LOOKS: Final[dict[Mark, tuple[int, Shape, bool]]] = {
    "better": (2, "triangle", False),
    "worse": (1, "diamond", False),
    "same": (0, "circle", False),
    "unsure": (6, "circle", True),
    "quiet": (6, "square", True),
}


def bars(drawing: Bars, name: str) -> tuple[str, float]:
    """Draw each variant's bar below its name; return the marks and the height."""
    found = scale(drawing.axis, [sum(each.values) for each in drawing.bars], _LEFT, _RIGHT)
    marks, top = [], 4.0
    if len(drawing.parts) > 1:
        samples = [partial(_sample, drawing, part, name) for part in range(len(drawing.parts))]
        laid, top = key(list(zip(samples, drawing.parts, strict=True)), top + 10)
        marks += [hatch(f"{name}-hatch", _place(drawing, len(drawing.parts) - 1)), laid]
    bottom = top + _ROW * len(drawing.bars) + 4
    rows = [(each, top + at * _ROW) for at, each in enumerate(drawing.bars)]
    marks += [
        across_axis(found, top, bottom),
        *(_part(drawing, part, rows, found, name) for part in range(len(drawing.parts))),
        over(
            *(words(_LEFT, at + 12, _told(drawing, each), room=_room(drawing, each)) for each, at in rows),
            anchored("end", *(words(_RIGHT, at + 12, _shown(drawing, each)) for each, at in rows)),
        ),
    ]
    return "".join(marks), bottom + 34


def _sample(drawing: Bars, part: int, name: str, x: float, y: float) -> str:
    outline = bar(x - 7, x + 7, y - 5, 10)
    return coloured(_place(drawing, part), filled(outline, fill=_fill(drawing, part, name)))


def _room(drawing: Bars, row: Bar) -> float:
    return WIDTH - width_of(_shown(drawing, row)) - 34


def _told(drawing: Bars, row: Bar) -> str:
    """The name, with the doubt where not every bar has the same."""
    several = len({each.doubt for each in drawing.bars}) > 1
    return f"{row.label} ({row.doubt})" if several and row.doubt else row.label


def _shown(drawing: Bars, row: Bar) -> str:
    """The values of two parts, or the sum of more."""
    shown = row.values if len(row.values) <= _MOST_WORDS else (sum(row.values),)
    return " + ".join(value_words(drawing.axis, value) for value in shown)


def _fill(drawing: Bars, part: int, name: str) -> str:
    """The last of several parts is hatched."""
    return f"url(#{name}-hatch)" if 0 < part == len(drawing.parts) - 1 else ""


def _place(drawing: Bars, part: int) -> int:
    """Two parts share a colour, more differ in it."""
    return 0 if len(drawing.parts) <= _MOST_WORDS else part


def _part(drawing: Bars, part: int, rows: Sequence[tuple[Bar, float]], found: Scale, name: str) -> str:
    """One part of every bar; those of a doubted variant are pale, as its points are hollow."""
    fill = _fill(drawing, part, name)
    pale: dict[bool, list[str]] = {}
    for row, top in rows:
        if not row.values[part]:
            continue
        left = sum(row.values[:part])
        outline = bar(found.at(left), found.at(left + row.values[part]), top + 16, 9)
        pale.setdefault(bool(row.doubt) and not fill, []).append(outline)
    return coloured(_place(drawing, part), *(filled(*each, fill=fill, pale=of) for of, each in pale.items()))


def forest(drawing: Forest, name: str) -> tuple[str, float]:
    """Draw each effect with its interval over its margin and noise bands; return marks and height."""
    found = scale(drawing.axis, _extent(drawing), _LEFT, _RIGHT)
    laid, top = key(list(_samples(drawing, name)), 14.0)
    bottom = top + _ROW * len(drawing.effects) + 4
    parts = [hatch(f"{name}-hatch", 6)] if any(each.noise for each in drawing.effects) else []
    parts.append(laid)
    for at, each in enumerate(drawing.effects):
        parts += _bands(each, found, top + at * _ROW, name)
    parts.append(across_axis(found, top, bottom))
    if drawing.neutral is not None:
        neutral = found.at(drawing.neutral)
        parts.append(segment(neutral, top, neutral, bottom))
    rows = [(each, top + at * _ROW) for at, each in enumerate(drawing.effects)]
    parts += [*_limits(rows, found, top, bottom), *_values(rows, found)]
    parts.append(
        over(
            *(words(_LEFT, at + 12, each.label, room=_name_room(each)) for each, at in rows),
            anchored("end", *(words(_RIGHT, at + 12, each.words, room=WIDTH * _WORDS) for each, at in rows)),
        )
    )
    return "".join(parts), bottom + 34


def _extent(drawing: Forest) -> list[float]:
    """Return the values and bands, and the ends of intervals that are not far beyond all of these.

    One interval without a sensible bound would shrink all others to a dot; it ends at the edge.
    """
    near = [value for each in drawing.effects for value in (each.value, each.limit) if value is not None]
    near += [end for each in drawing.effects for band in (each.margin, each.noise) for end in band or ()]
    near += [] if drawing.neutral is None else [drawing.neutral]
    if not near:
        return near
    low, high = min(near), max(near)
    if drawing.axis.log:
        low, high = low / _FAR, high * _FAR
    else:
        room = _FAR * (high - low) or abs(high) or 1.0
        low, high = low - room, high + room
    ends = (end for each in drawing.effects for end in each.interval or ())
    return [*near, *(end for end in ends if low <= end <= high)]


def _samples(drawing: Forest, name: str) -> Iterable[tuple[Sample, str]]:
    marks = dict.fromkeys(each.mark for each in drawing.effects if each.value is not None)
    for mark in _LOOKS:
        if mark in marks:
            yield partial(_look, mark), drawing.names.get(mark, mark)
    if any(each.margin for each in drawing.effects):
        yield lambda x, y: _margin(x - 7, x + 7, y - 6, 12), "margin"
    if any(each.noise for each in drawing.effects):
        yield lambda x, y: _noise(x - 7, x + 7, y - 6, 12, name), "noise of the machine"
    if any(each.limit is not None for each in drawing.effects):
        yield lambda x, y: segment(x, y - 6, x, y + 6, dashes="2 2"), "limit"


def _look(mark: Mark, x: float, y: float) -> str:
    place, kind, hollow = _LOOKS[mark]
    return coloured(place, shape(kind, x, y, 4.5, hollow=hollow))


def _margin(left: float, right: float, top: float, height: float) -> str:
    return tag(
        "rect",
        x=left,
        y=top,
        width=right - left,
        height=height,
        fill=BAND,
        fill_opacity="0.45",
        class_="band",
    )


def _noise(left: float, right: float, top: float, height: float, name: str) -> str:
    return tag("g", filled(bar(left, right, top, height), fill=f"url(#{name}-hatch)"), opacity="0.35")


def _bands(row: Effect, found: Scale, top: float, name: str) -> Iterable[str]:
    if row.margin is not None:
        left, right = (found.inside(end) for end in row.margin)
        yield _margin(left, right, top + 15, 12)
    if row.noise is not None:
        left, right = (found.inside(end) for end in row.noise)
        yield _noise(left, right, top + 15, 12, name)


def _name_room(row: Effect) -> float:
    """Return the room for the name of an effect next to its words."""
    return WIDTH - min(width_of(row.words), WIDTH * _WORDS) - 34


def _limits(rows: Sequence[tuple[Effect, float]], found: Scale, top: float, bottom: float) -> Iterable[str]:
    """Yield one line where every effect has the same limit, else a short one each."""
    lines = [(row.limit, at + 15, at + 27) for row, at in rows]
    if len({limit for limit, _, _ in lines}) == 1:
        lines = [(lines[0][0], top, bottom)]
    for limit, upper, lower in lines:
        if limit is not None:
            x = found.inside(limit)
            yield segment(x, upper, x, lower, dashes="2 2")


def _values(rows: Sequence[tuple[Effect, float]], found: Scale) -> Iterable[str]:
    """Yield the intervals and values of all effects with one mark, as one group."""
    for mark in dict.fromkeys(row.mark for row, _ in rows):
        place, kind, hollow = _LOOKS[mark]
        chosen = [(row, at + 21) for row, at in rows if row.mark == mark]
        intervals = [
            whisker(found.inside(row.interval[0]), found.inside(row.interval[1]), middle)
            for row, middle in chosen
            if row.interval is not None
        ]
        values = [
            shape(kind, found.inside(row.value), middle, 4.5, hollow=hollow)
            for row, middle in chosen
            if row.value is not None
        ]
        if intervals or values:
            yield coloured(place, *intervals, *values)
