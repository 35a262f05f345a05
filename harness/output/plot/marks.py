"""Marks as SVG text: shapes, whiskers, bars, ribbons, lines and words.

Colours, dashes and fills are presentation attributes, so that a chart is readable where a policy forbids
style sheets; the classes `c0` to `c7`, `ink`, `line`, `quiet`, `halo` and `paper` let one override them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from harness.output.formats.markup import html_text
from harness.output.plot.scales import Scale, tick_words
from harness.output.safe_text import safe_text

WIDTH: Final = 420.0
FONT: Final = 11.0
LINE: Final = 15.0

INK: Final = "#1a1a1a"
GRID: Final = "#dedede"
BAND: Final = "#b8b8b8"
QUIET: Final = "#595959"
PAPER: Final = "#fff"
# The hues of Okabe and Ito, the light ones darkened to a contrast of 3 to 1 on white.
COLOURS: Final = ("#0072b2", "#d55e00", "#008a66", "#b5588c", "#a87000", "#2583b8", "#000000", "#7d7400")
_DASHES: Final = ("", "6 3", "2 2", "8 3 2 3", "4 2", "1 3", "10 4", "3 5")
Shape = Literal["circle", "square", "triangle", "diamond"]
_SHAPES: Final[tuple[Shape, ...]] = ("circle", "square", "triangle", "diamond")
_NARROW: Final = frozenset("iljtfrI.,:;'|!()[]{} -/·")
_WIDE: Final = frozenset("mwMW%@…")
_LONGEST: Final = 160

Attribute = str | float
# Draws a sample of a mark around a place.
Sample = Callable[[float, float], str]


def number(value: float) -> str:
    """Return a coordinate with one decimal at most.

    >>> number(12.04), number(-0.01), number(3.25)
    ('12', '0', '3.2')
    """
    # Adding zero turns a negative zero into a plain one.
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def tag(name: str, *children: str, **attributes: Attribute) -> str:
    """Return an element; `stroke_width` becomes `stroke-width`, `class_` becomes `class`."""
    listed = "".join(
        f" {key.strip('_').replace('_', '-') if key != 'viewBox' else key}="
        f'"{number(value) if isinstance(value, float) else value}"'
        for key, value in attributes.items()
        if value != ""
    )
    return f"<{name}{listed}>{''.join(children)}</{name}>" if children else f"<{name}{listed}/>"


def hint(text: str) -> str:
    """Return the text that a pointer shows over the mark around it."""
    return f"<title>{html_text(text, _LONGEST)}</title>"


def coloured(place: int, *children: str, dashed: bool = False) -> str:
    """Return marks in the colour of the variant at that place, with its dashes if they are lines."""
    at = place % len(COLOURS)
    return tag(
        "g",
        *children,
        class_=f"c{at}",
        fill=COLOURS[at],
        stroke=COLOURS[at],
        stroke_dasharray=_DASHES[at] if dashed else "",
    )


def width_of(text: str) -> float:
    """Return the width of a text in a wide sans-serif font, in pixels."""
    return FONT * sum(map(_em, text))


def _em(character: str) -> float:
    if character in _NARROW:
        return 0.4
    if character in _WIDE or unicodedata.east_asian_width(character) in "WF":
        return 1.0
    return 0.72 if character.isupper() else 0.64


def cut(text: str, room: float) -> str:
    """Return a safe text that is not wider than `room` pixels, with an ellipsis where it was cut."""
    shown = safe_text(text[:_LONGEST])
    if len(text) <= _LONGEST and width_of(shown) <= room:
        return shown
    while shown and width_of(shown) + FONT > room:
        shown = shown[:-1]
    return f"{shown}…"


def words(
    x: float, y: float, text: str, *, anchor: Literal["", "middle", "end"] = "", room: float = WIDTH
) -> str:
    """Return a text on the base line y."""
    return tag("text", html_text(cut(text, room)), x=x, y=y, text_anchor=anchor)


def anchored(anchor: Literal["middle", "end"], *texts: str) -> str:
    """Return texts whose places are their middles or ends."""
    return tag("g", *texts, text_anchor=anchor)


def over(*texts: str) -> str:
    """Return texts with the paper around their letters, readable over lines."""
    return tag("g", *texts, class_="halo", stroke=PAPER, stroke_width="3", paint_order="stroke")


def shape(kind: Shape, x: float, y: float, radius: float = 4.0, *, hollow: bool = False) -> str:
    """Return a marker; a hollow one shows the paper inside."""
    look = {"class_": "paper", "fill": PAPER} if hollow else {}
    if kind == "circle":
        return tag("circle", cx=x, cy=y, r=radius, **look)
    if kind == "square":
        side = 1.8 * radius
        return tag("rect", x=x - side / 2, y=y - side / 2, width=side, height=side, **look)
    tall = 1.3 * radius
    down = "l{0} {1}l-{0} {1}" if kind == "diamond" else ""
    if kind == "diamond":
        path = f"M{number(x)} {number(y - tall)}{down.format(number(tall), number(tall))}"
        path += f"l-{number(tall)} -{number(tall)}z"
    else:
        path = f"M{number(x)} {number(y - tall)}l{number(tall)} {number(2 * tall)}h-{number(2 * tall)}z"
    return tag("path", d=path, **look)


def shape_at(place: int) -> Shape:
    """Return the shape of the variant at that place, so that the first 32 differ in colour or shape."""
    return _SHAPES[(place + place // len(COLOURS)) % len(_SHAPES)]


def whisker(low: float, high: float, across: float, *, upright: bool = False, end: float = 3.0) -> str:
    """Return an interval from `low` to `high` with ends, at `across` on the other axis."""
    a, b, c = number(low), number(high), number(across)
    near, far = number(across - end), number(across + end)
    if upright:
        path = f"M{c} {a}V{b}M{near} {a}H{far}M{near} {b}H{far}"
    else:
        path = f"M{a} {c}H{b}M{a} {near}V{far}M{b} {near}V{far}"
    return tag("path", d=path, fill="none")


def bar(left: float, right: float, top: float, height: float) -> str:
    """Return the outline of a bar, for `filled`."""
    near, far = number(left), number(max(right, left + 0.5))
    return f"M{near} {number(top)}H{far}V{number(top + height)}H{near}z"


def filled(*outlines: str, fill: str = "", pale: bool = False) -> str:
    """Return areas as one mark; `fill` overrides the colour of the group around it."""
    return tag("path", d="".join(outlines), fill=fill, fill_opacity="0.25" if pale else "")


def line(points: Sequence[tuple[float, float]], *, thin: bool = False) -> str:
    """Return a line through these points."""
    return tag("polyline", points=_listed(points), fill="none", stroke_width="1" if thin else "2")


def dots(points: Iterable[tuple[float, float]]) -> str:
    """Return small dots as one mark: strokes without a length, which have round ends."""
    path = "".join(f"M{number(x)} {number(y)}h0" for x, y in points)
    return tag("path", d=path, stroke_width="3.4", stroke_linecap="round", stroke_opacity="0.55")


def ribbon(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]]) -> str:
    """Return the area between two lines."""
    return tag("polygon", points=_listed([*upper, *reversed(lower)]), stroke="none", fill_opacity="0.18")


def arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return an arrow with a filled head; a short one is its head alone."""
    across, down = end[0] - start[0], end[1] - start[1]
    length = (across**2 + down**2) ** 0.5
    if length < 1:
        return shape("diamond", *end)
    along, over = across / length, down / length
    back = (end[0] - 8 * along, end[1] - 8 * over)
    corners = [
        end,
        (back[0] - 3.5 * over, back[1] + 3.5 * along),
        (back[0] + 3.5 * over, back[1] - 3.5 * along),
    ]
    shaft = [line([start, back])] if length > 8 else []
    return "".join([*shaft, tag("polygon", points=_listed(corners))])


def segment(x1: float, y1: float, x2: float, y2: float, *, quiet: bool = False, dashes: str = "") -> str:
    """Return a straight line in ink, or a quiet leader line."""
    of, stroke = ("quiet", QUIET) if quiet else ("ink", INK)
    path = f"M{number(x1)} {number(y1)}L{number(x2)} {number(y2)}"
    return tag("path", d=path, class_=of, stroke=stroke, stroke_dasharray=dashes)


def hatch(name: str, place: int = 0) -> str:
    """Return the definition of a hatched fill; `url(#name)` uses it."""
    stripes = tag("path", d="M0 5L5 0", stroke_width="1.2", fill="none")
    pattern = tag(
        "pattern", coloured(place, stripes), id=name, width="5", height="5", patternUnits="userSpaceOnUse"
    )
    return tag("defs", pattern)


def across_axis(found: Scale, top: float, bottom: float) -> str:
    """Return the grid and the ticks of a horizontal axis, then its title below them."""
    lines = [f"M{number(found.at(tick))} {number(top)}V{number(bottom)}" for tick in found.ticks]
    name = words(found.end, bottom + 31, found.axis.title, anchor="end")
    return _axis(lines, anchored("middle", *_ticks(found, bottom + 16)), name)


def up_axis(found: Scale, left: float, right: float, title: float | None = None) -> str:
    """Return the grid and the ticks of a vertical axis, then its title above them, or at that y."""
    lines = [f"M{number(left)} {number(found.at(tick))}H{number(right)}" for tick in found.ticks]
    texts = (words(left - 5, found.at(tick) + 4, tick_words(found.axis, tick)) for tick in found.ticks)
    name = words(4, found.end - 12 if title is None else title, found.axis.title)
    return _axis(lines, anchored("end", *texts), name)


def _axis(lines: Sequence[str], ticks: str, name: str) -> str:
    grid = tag("path", d="".join(lines), class_="line", stroke=GRID, stroke_width="1")
    return tag("g", grid, ticks, name, class_="ticks quiet", fill=QUIET)


def _ticks(found: Scale, y: float) -> Iterable[str]:
    """Yield the words of a horizontal axis that do not touch the ones before."""
    taken = -1e9
    for tick in found.ticks:
        shown, x = tick_words(found.axis, tick), found.at(tick)
        half = width_of(shown) / 2
        x = min(max(x, half), WIDTH - half)
        if x - half > taken + 4:
            taken = x + half
            yield words(x, y, shown)


def key(entries: Sequence[tuple[Sample, str]], top: float, left: float = 4.0) -> tuple[str, float]:
    """Lay out samples with their names in rows; return them and the y below."""
    placed, x, y = [], left, top
    for sample, name in entries:
        wide = width_of(cut(name, WIDTH - left - 22)) + 34
        if x > left and x + wide - 10 > WIDTH:
            x, y = left, y + LINE
        placed.append(sample(x + 8, y - 4) + words(x + 20, y, name, room=WIDTH - left - 22))
        x += wide
    return "".join(placed), y + LINE if entries else top


def _listed(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{number(x)},{number(y)}" for x, y in points)
