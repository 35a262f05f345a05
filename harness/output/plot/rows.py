"""Charts of one row a variant: bars, and the forest of judged effects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from harness.output.drawings import Bar, Bars, Effect, Forest, Mark
from harness.output.plot.marks import (
    GRID,
    WIDTH,
    Shape,
    across_axis,
    bar,
    coloured,
    hatch,
    hint,
    key,
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
_ROW: Final = 32.0
_FAR: Final = 4.0
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
    parts = [hatch(f"{name}-hatch")]
    top = 4.0
    if len(drawing.parts) > 1:
        samples = [
            coloured(0, bar(-7, 7, -5, 10, fill=_fill(drawing, at, name))) for at in range(len(drawing.parts))
        ]
        laid, top = key(list(zip(samples, drawing.parts, strict=True)), top + 10)
        parts.append(laid)
    bottom = top + _ROW * len(drawing.bars) + 4
    parts.append(across_axis(found, top, bottom))
    for at, each in enumerate(drawing.bars):
        parts.append(_bar(drawing, each, found, top + at * _ROW, name))
    return "".join(parts), bottom + 34


def _fill(drawing: Bars, part: int, name: str) -> str:
    """The last of several parts is hatched."""
    return f"url(#{name}-hatch)" if 0 < part == len(drawing.parts) - 1 else ""


def _bar(drawing: Bars, row: Bar, found: Scale, top: float, name: str) -> str:
    shown = " + ".join(value_words(drawing.axis, value) for value in row.values)
    side = width_of(shown)
    named = f"{row.label} ({row.doubt})" if row.doubt else row.label
    texts = words(_LEFT, top + 12, named, room=WIDTH - side - 34)
    texts += words(_RIGHT, top + 12, shown, anchor="end")
    left, marks = 0.0, []
    for part, value in enumerate(row.values):
        right = left + value
        hollow = bool(row.doubt) and part == 0
        drawn = bar(found.at(left), found.at(right), top + 17, 11, fill=_fill(drawing, part, name))
        # Hollow as the points of the same variant are.
        marks.append(tag("g", drawn, fill_opacity="0.25") if hollow else drawn)
        left = right
    told = hint(f"{row.label}: {shown} {drawing.axis.title}")
    return tag("g", told, coloured(0, *marks)) + texts


def forest(drawing: Forest, name: str) -> tuple[str, float]:
    """Draw each effect with its interval over its margin and noise bands; return marks and height."""
    found = scale(drawing.axis, _extent(drawing), _LEFT, _RIGHT)
    laid, top = key(list(_samples(drawing, name)), 14.0)
    bottom = top + _ROW * len(drawing.effects) + 4
    parts = [hatch(f"{name}-hatch", 6), laid]
    for at, each in enumerate(drawing.effects):
        parts += _bands(each, found, top + at * _ROW, name)
    parts.append(across_axis(found, top, bottom))
    if drawing.neutral is not None:
        neutral = found.at(drawing.neutral)
        parts.append(segment(neutral, top, neutral, bottom, "ink"))
    parts += (_effect(each, found, top + at * _ROW) for at, each in enumerate(drawing.effects))
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


def _samples(drawing: Forest, name: str) -> Iterable[tuple[str, str]]:
    marks = dict.fromkeys(each.mark for each in drawing.effects if each.value is not None)
    for mark in _LOOKS:
        if mark in marks:
            place, kind, hollow = _LOOKS[mark]
            yield coloured(place, shape(kind, 0, 0, hollow=hollow)), drawing.names.get(mark, mark)
    for field, text in (("margin", "margin"), ("noise", "noise of the machine")):
        if any(getattr(each, field) for each in drawing.effects):
            yield _band(field, -7, 7, -6, 12, name), text
    if any(each.limit is not None for each in drawing.effects):
        yield segment(0, -6, 0, 6, "ink", "2 2"), "limit"


def _band(field: str, left: float, right: float, top: float, height: float, name: str) -> str:
    if field == "noise":
        return tag("g", bar(left, right, top, height, fill=f"url(#{name}-hatch)"), opacity="0.35")
    return tag(
        "rect",
        x=left,
        y=top,
        width=right - left,
        height=height,
        fill=GRID,
        fill_opacity="0.45",
        class_="band",
    )


def _bands(row: Effect, found: Scale, top: float, name: str) -> Iterable[str]:
    for field, interval in (("margin", row.margin), ("noise", row.noise)):
        if interval is not None:
            left, right = (found.inside(end) for end in interval)
            yield _band(field, left, right, top + 16, 14, name)


def _effect(row: Effect, found: Scale, top: float) -> str:
    place, kind, hollow = _LOOKS[row.mark]
    side = width_of(row.words)
    texts = words(_LEFT, top + 12, row.label, room=max(WIDTH - side - 34, WIDTH * 0.3))
    texts += words(_RIGHT, top + 12, row.words, anchor="end", room=WIDTH * 0.66)
    marks = []
    if row.interval is not None:
        low, high = row.interval
        marks.append(whisker(found.inside(low), found.inside(high), top + 23))
    if row.value is not None:
        marks.append(shape(kind, found.at(row.value), top + 23, 4.5, hollow=hollow))
    limit = (
        segment(found.at(row.limit), top + 16, found.at(row.limit), top + 30, "ink", "2 2")
        if row.limit is not None
        else ""
    )
    return limit + tag("g", hint(f"{row.label}: {row.words}"), coloured(place, *marks)) + texts
