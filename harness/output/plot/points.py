"""Charts of points on two axes: variants with whiskers and seeds, and arrows from baseline to candidate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from harness.output.drawings import Arrow, Arrows, Point, Scatter
from harness.output.plot.marks import (
    LINE,
    WIDTH,
    Sample,
    across_axis,
    arrow,
    coloured,
    dots,
    hint,
    key,
    over,
    segment,
    shape,
    shape_at,
    up_axis,
    whisker,
    width_of,
    words,
)
from harness.output.plot.scales import Scale, scale, tick_words
from harness.output.plot.scales import words as value_words

_TOP: Final = 30.0
_BOTTOM: Final = 240.0
_RIGHT: Final = WIDTH - 10
_MOST_NAMES: Final = 6
_LONGEST_NAME: Final = 150.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle that no other text may touch."""

    left: float
    top: float
    right: float
    bottom: float

    def touches(self, other: Box) -> bool:
        """Return whether both overlap."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def letter(place: int) -> str:
    """Return the letter of the variant at that place.

    >>> letter(0), letter(25), letter(26)
    ('A', 'Z', 'AA')
    """
    return (chr(64 + place // 26) if place >= 26 else "") + chr(65 + place % 26)


def lettered(labels: Sequence[str]) -> bool:
    """Return whether the points get letters, since their names would cover the plot."""
    return len(labels) > _MOST_NAMES or any(width_of(label) > _LONGEST_NAME for label in labels)


def scatter(drawing: Scatter) -> tuple[str, float]:
    """Draw each variant with whiskers, its seeds as small dots; return the marks and the height."""
    points = drawing.points
    x, y = _scales(
        drawing,
        [value for each in points for value in (each.x, *(each.x_range or ()), *(s.x for s in each.seeds))],
        [value for each in points for value in (each.y, *(each.y_range or ()), *(s.y for s in each.seeds))],
    )
    marks = [coloured(at, *_point(each, at, x, y)) for at, each in enumerate(points)]
    places = [(x.at(each.x), y.at(each.y)) for each in points]
    samples = [partial(_sample, at, bool(each.doubt)) for at, each in enumerate(points)]
    named = list(zip(samples, (each.label for each in points), strict=True))
    return _framed(x, y, marks, places, named, [box for each in points for box in _boxes(each, x, y)])


def _sample(place: int, hollow: bool, x: float, y: float) -> str:
    return coloured(place, shape(shape_at(place), x, y, hollow=hollow))


def _arrow_sample(place: int, x: float, y: float) -> str:
    return coloured(place, arrow((x - 7, y), (x + 7, y)))


def _boxes(point: Point, x: Scale, y: Scale) -> Iterable[Box]:
    """Yield the place of every mark of a point, which its name should not cover."""
    at_x, at_y = x.at(point.x), y.at(point.y)
    if point.x_range is not None:
        yield Box(x.at(point.x_range[0]), at_y - 2, x.at(point.x_range[1]), at_y + 2)
    if point.y_range is not None:
        yield Box(at_x - 2, y.at(point.y_range[1]), at_x + 2, y.at(point.y_range[0]))
    for seed in point.seeds:
        yield Box(x.at(seed.x) - 2, y.at(seed.y) - 2, x.at(seed.x) + 2, y.at(seed.y) + 2)


def arrows(drawing: Arrows) -> tuple[str, float]:
    """Draw an arrow for each variant; return the marks and the height."""
    ends = [end for each in drawing.arrows for end in (each.start, each.end)]
    x, y = _scales(drawing, [end[0] for end in ends], [end[1] for end in ends])
    marks, places, samples = [], [], []
    for at, each in enumerate(drawing.arrows):
        start, end = ((x.at(one[0]), y.at(one[1])) for one in (each.start, each.end))
        told = " to ".join(
            f"{value_words(x.axis, one[0])}, {value_words(y.axis, one[1])}" for one in (each.start, each.end)
        )
        body = shape("circle", *start, 3.0, hollow=True) + arrow(start, end)
        marks.append(coloured(at, hint(f"{each.label}: {told}"), body))
        places.append(end)
        samples.append((partial(_arrow_sample, at), each.label))
    covered = [box for each in drawing.arrows for box in _shaft(each, x, y)]
    return _framed(x, y, marks, places, samples, covered)


def _shaft(each: Arrow, x: Scale, y: Scale) -> Iterable[Box]:
    """Yield boxes along an arrow, which no name should cover."""
    (x1, y1), (x2, y2) = ((x.at(end[0]), y.at(end[1])) for end in (each.start, each.end))
    for step in range(13):
        px, py = x1 + (x2 - x1) * step / 12, y1 + (y2 - y1) * step / 12
        yield Box(px - 3, py - 3, px + 3, py + 3)


def _scales(drawing: Scatter | Arrows, xs: Iterable[float], ys: Iterable[float]) -> tuple[Scale, Scale]:
    y = scale(drawing.y, ys, _BOTTOM, _TOP)
    left = max(width_of(tick_words(y.axis, tick)) for tick in y.ticks) + 10
    return scale(drawing.x, xs, left, _RIGHT), y


def _point(point: Point, place: int, x: Scale, y: Scale) -> list[str]:
    at_x, at_y = x.at(point.x), y.at(point.y)
    seeds = [(x.at(seed.x), y.at(seed.y)) for seed in point.seeds]
    told = f"{point.label}: {_told(x, point.x, point.x_range)}, {_told(y, point.y, point.y_range)}"
    return [
        hint(told),
        dots(seeds) if len(seeds) > 1 else "",
        whisker(x.at(point.x_range[0]), x.at(point.x_range[1]), at_y) if point.x_range else "",
        whisker(y.at(point.y_range[0]), y.at(point.y_range[1]), at_x, upright=True) if point.y_range else "",
        shape(shape_at(place), at_x, at_y, hollow=bool(point.doubt)),
    ]


def _told(found: Scale, value: float, interval: tuple[float, float] | None) -> str:
    ends = "" if interval is None else f" ({' to '.join(value_words(found.axis, end) for end in interval)})"
    return f"{value_words(found.axis, value)}{ends}"


def _framed(
    x: Scale,
    y: Scale,
    marks: Sequence[str],
    places: Sequence[tuple[float, float]],
    samples: Sequence[tuple[Sample, str]],
    covered: Sequence[Box] = (),
) -> tuple[str, float]:
    """Put the marks on their axes and name them; return everything and the height."""
    names = [name for _, name in samples]
    short = lettered(names)
    shown = [letter(at) for at in range(len(names))] if short else names
    parts = [up_axis(y, x.start, x.end), across_axis(x, _TOP, _BOTTOM), *marks]
    leaders, texts = _labels(places, shown, x, covered)
    parts += [*leaders, over(*texts)]
    height = _BOTTOM + 34
    if short:
        listed = [(sample, f"{letter(at)}  {name}") for at, (sample, name) in enumerate(samples)]
        laid, height = key(listed, height + LINE)
        parts.append(laid)
    return "".join(parts), height


def _labels(
    places: Sequence[tuple[float, float]], shown: Sequence[str], x: Scale, covered: Sequence[Box]
) -> tuple[list[str], list[str]]:
    """Return the leader lines and the names next to their points, moved apart where they would touch."""
    taken = [Box(px - 6, py - 6, px + 6, py + 6) for px, py in places]
    leaders, texts = [], []
    for place in sorted(range(len(places)), key=lambda at: places[at][1]):
        px, py = places[place]
        box = _free((px, py), width_of(shown[place]), x, taken, covered)
        taken.append(box)
        middle = (box.top + box.bottom) / 2
        if abs(middle - py) > LINE:
            near = min(max(px, box.left), box.right)
            leaders.append(segment(px, py, near, box.top if middle > py else box.bottom, quiet=True))
        texts.append(words(box.left, middle + 4, shown[place]))
    return leaders, texts


def _free(
    point: tuple[float, float], wide: float, x: Scale, taken: Sequence[Box], covered: Sequence[Box]
) -> Box:
    """Return the nearest box for a name that touches no name and no point, and no other mark if possible."""
    px, py = point
    steps = sorted(range(-30, 31), key=lambda step: (abs(step), step))
    tried = [
        Box(left, py + step * 8 - 7, left + wide, py + step * 8 + 7)
        for step in steps
        for left in (px + 9, px - 9 - wide)
        if left >= x.start and left + wide <= WIDTH and _TOP - 4 <= py + step * 8 <= _BOTTOM
    ]
    free = [box for box in tried if not any(box.touches(other) for other in taken)]
    # Close by, over a whisker, is easier to read than far away.
    clear = (box for box in free[:12] if not any(box.touches(other) for other in covered))
    left = max(x.start, px - wide)
    return next(clear, next(iter(free or tried), Box(left, py - 7, left + wide, py + 7)))
