"""Charts: marks lie where their numbers are, every drawn number is in the table, and no style is needed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.output.document import Chart
from harness.output.drawings import (
    Arrow,
    Arrows,
    Axis,
    Bar,
    Bars,
    Drawing,
    Effect,
    Forest,
    Line,
    Lines,
    Point,
    Sample,
    Scatter,
    Seed,
    Slope,
    Unit,
)
from harness.output.numbers import NOTHING
from harness.output.plot.marks import width_of
from harness.output.plot.scales import WORDS, scale, tick_words
from harness.output.plot.svg import to_svg
from harness.output.plot.twin import twin

FAST = Axis("real tokens per second", "rate")
F1 = Axis("F1", "percent", cut=True)
SCATTER = Scatter(
    FAST,
    F1,
    (
        Point(
            "static",
            1140.0,
            0.894,
            (1100.0, 1180.0),
            (0.890, 0.898),
            (Seed(0, 1100.0, 0.89), Seed(1, 1180.0, 0.898)),
        ),
        Point("unpadded", 2210.0, 0.891, None, None, (), "stand-in"),
    ),
    "smallest to largest",
    "one standard deviation",
)
ARROWS = Arrows(
    FAST, F1, (Arrow("static", (1000.0, 0.91), (1500.0, 0.84)), Arrow("b", (1.0, 0.9), (1.0, 0.9)))
)
BARS = Bars(
    FAST, (Bar("static", (1140.0, 1070.0)), Bar("bucketed", (2060.0, 42.0), "stand-in")), ("real", "padding")
)
PHASES = Bars(
    Axis("seconds of a trial", "seconds"),
    (Bar("static", (0.1, 6.8, 0.0, 1.9)), Bar("dynamic", (0.1, 3.9, 0.2, 2.0))),
    ("load", "train", "evaluate", "the rest"),
)
LINES = Lines(
    Axis("epoch", "count", cut=True),
    Axis("loss", "number"),
    (
        Line("static", (Sample(1, 0.6, (0.5, 0.7)), Sample(2, 0.4, (0.3, 0.5)))),
        Line("static", (Sample(1, 0.55), Sample(2, 0.45)), seed=1),
    ),
)
FOREST = Forest(
    Axis("candidate over baseline", "ratio", log=True),
    1.0,
    (
        Effect("static", "better", "better 1.31 x (1.14 to 1.47)", 1.31, (1.14, 1.47), noise=(0.97, 1.03)),
        Effect("dynamic", "unsure", "unsure 1.10 x (0.01 to 99.0)", 1.1, (0.01, 99.0)),
        Effect("lost", "quiet", "missing"),
        Effect("gate", "worse", "failed 0.80 x", 0.8, limit=0.9, margin=(0.95, 1.05)),
    ),
)
SLOPE = Slope(
    Axis("over static", "ratio", log=True),
    ("CPU", "A100", "H100"),
    (("static", (1.0, 1.0, 1.0)), ("dynamic", (1.5, 1.7, None)), ("unpadded", (2.0, 3.1, 2.9))),
)
DRAWINGS: dict[str, Drawing] = {
    "scatter": SCATTER,
    "arrows": ARROWS,
    "bars": BARS,
    "phases": PHASES,
    "lines": LINES,
    "forest": FOREST,
    "slope": SLOPE,
}


def drawn(drawing: Drawing) -> ET.Element:
    """The picture of a drawing, parsed."""
    chart = Chart("name", "a title", "a description", drawing)
    return ET.fromstring(to_svg(chart))


def ticks(root: ET.Element, place: int) -> list[tuple[float, float]]:
    """The values at the ticks of an axis, as a reader finds them: pixel of the grid line, and its words."""
    axis = root.findall("g[@class='ticks quiet']")[place]
    grid = axis.find("path")
    assert grid is not None
    lines = grid.attrib["d"].split("M")[1:]
    texts = [text.text or "" for text in axis.findall("g/text")]
    upright = "V" in lines[0]
    places = [float(re.findall(r"[-\d.]+", line)[0 if upright else 1]) for line in lines]
    assert len(places) == len(texts)
    return [(at, value_of(text)) for at, text in zip(places, texts, strict=True)]


def value_of(text: str) -> float:
    number, unit = re.fullmatch(r"([-+\d.]+)\s*(.*)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"": 1, "s": 1, "k": 1e3, "%": 0.01, "x": 1}[unit]


def read(found: Sequence[tuple[float, float]], pixel: float) -> float:
    """The value at a pixel, between the first and the last tick of a linear axis."""
    (a, low), (b, high) = found[0], found[-1]
    return low + (pixel - a) / (b - a) * (high - low)


def test_a_bar_is_as_long_as_its_number() -> None:
    root = drawn(BARS)
    axis = ticks(root, 0)
    areas = [path for path in root.findall("g[@class='c0']/path") if "H" in path.attrib["d"]][2:]
    ends = [
        (float(left), float(right))
        for path in areas
        for left, right in re.findall(r"M([\d.]+) [\d.]+H([\d.]+)", path.attrib["d"])
    ]
    lengths = [read(axis, right) - read(axis, left) for left, right in ends]
    assert lengths == pytest.approx([1140, 2060, 1070, 42], abs=5)
    assert [path.attrib.get("fill-opacity") for path in areas] == [None, "0.25", None]


def test_the_parts_of_a_bar_follow_each_other_in_their_colours() -> None:
    root = drawn(PHASES)
    axis = ticks(root, 0)
    parts = [root.findall(f"g[@class='c{place}']/path")[-1].attrib["d"] for place in range(4)]
    ends = [
        [read(axis, float(end)) for pair in re.findall(r"M([\d.]+) [\d.]+H([\d.]+)", part) for end in pair]
        for part in parts
    ]
    assert [value for each in ends for value in each] == pytest.approx(
        [0, 0.1, 0, 0.1, 0.1, 6.9, 0.1, 4.0, 4.0, 4.2, 6.9, 8.8, 4.2, 6.2], abs=0.03
    )


def test_points_whiskers_and_seeds_lie_at_their_numbers() -> None:
    root = drawn(SCATTER)
    up, across = ticks(root, 0), ticks(root, 1)
    first, second = root.findall("g[@class='c0']") + root.findall("g[@class='c1']")
    marker = first.findall("circle")[-1]
    found = read(across, float(marker.attrib["cx"])), read(up, float(marker.attrib["cy"]))
    assert found == pytest.approx((1140, 0.894), rel=2e-3)
    dots, *whiskers = (path.attrib["d"] for path in first.findall("path"))
    seeds = [(read(across, float(x)), read(up, float(y))) for x, y in re.findall(r"M(\S+) (\S+?)h0", dots)]
    assert [value for pair in seeds for value in pair] == pytest.approx([1100, 0.89, 1180, 0.898], rel=2e-3)
    level, upright = whiskers
    assert [read(across, float(x)) for x in re.findall(r"[-\d.]+", level)[0:3:2]] == pytest.approx(
        [1100, 1180], rel=5e-3
    )
    assert [read(up, float(y)) for y in re.findall(r"[-\d.]+", upright)[1:3]] == pytest.approx(
        [0.890, 0.898], abs=2e-4
    )
    hollow = second.find("rect")
    assert hollow is not None
    assert hollow.attrib["fill"] == "#fff"


def test_lines_and_ribbons_pass_through_their_samples() -> None:
    root = drawn(LINES)
    up, across = ticks(root, 0), ticks(root, 1)
    polygon = next(root.iter("polygon"))
    band = [
        (read(across, float(x)), read(up, float(y)))
        for x, y in (pair.split(",") for pair in polygon.attrib["points"].split())
    ]
    assert [value for pair in band for value in pair] == pytest.approx(
        [1, 0.7, 2, 0.5, 2, 0.3, 1, 0.5], abs=0.01
    )
    thin, thick = root.findall("g//polyline")[-2:]
    assert (thick.attrib["stroke-width"], thin.attrib["stroke-width"]) == ("2", "1")


def test_an_interval_beyond_all_others_ends_at_the_edge_and_leaves_them_readable() -> None:
    root = drawn(FOREST)
    whiskers = [path.attrib["d"] for path in root.iter("path") if re.search(r"H[\d.]+M", path.attrib["d"])]
    spans = [
        float(found[1]) - float(found[0])
        for found in (re.match(r"M([\d.]+) [\d.]+H([\d.]+)", path).groups() for path in whiskers)  # type: ignore[union-attr]
    ]
    assert spans[1] == pytest.approx(394, abs=1)
    assert 30 < spans[0] < 200
    cells = {column.title: column.cells for column in twin(FOREST)}
    assert cells["interval"][1] == "0.0100 x to 99.0 x"


def test_a_slope_leaves_out_a_machine_without_a_number() -> None:
    root = drawn(SLOPE)
    counts = [line.attrib["points"].count(",") for line in root.iter("polyline")]
    assert counts == [3, 2, 3]
    assert twin(SLOPE)[3].cells == ("1.00 x", NOTHING, "2.90 x")


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_number_outside_of_the_axes_is_in_the_table(name: str) -> None:
    root = drawn(DRAWINGS[name])
    table = " ".join(cell for column in twin(DRAWINGS[name]) for cell in (column.title, *column.cells))
    for text in told(root):
        for number in re.findall(r"\d+(?:[.,]\d+)*", text):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", table), (text, table)


def told(root: ET.Element) -> Iterator[str]:
    """The words of a picture, those of its axes left out."""
    axes = {text for axis in root.findall("g[@class='ticks quiet']") for text in axis.iter("text")}
    for element in (*root.iter("text"), *root.iter("title")):
        if element not in axes:
            yield element.text or ""


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_picture_needs_no_style_sheet_and_has_a_title_and_a_description(name: str) -> None:
    root = drawn(DRAWINGS[name])
    assert [child.tag for child in root[:2]] == ["title", "desc"]
    assert root.attrib["aria-labelledby"] == " ".join(child.attrib["id"] for child in root[:2])
    for element in root.iter():
        assert "style" not in element.attrib
        if re.fullmatch(r"c\d", element.attrib.get("class", "")):
            assert element.attrib["fill"].startswith("#")
            assert element.attrib["stroke"].startswith("#")
    looks = {
        (element.attrib["fill"], element.attrib.get("stroke-dasharray"))
        for element in root.iter("g")
        if re.fullmatch(r"c\d", element.attrib.get("class", ""))
    }
    assert len(looks) >= (1 if name in ("bars", "lines") else 2)


@pytest.mark.parametrize("name", DRAWINGS)
def test_equal_drawings_give_equal_bytes(name: str) -> None:
    chart = Chart("name", "a title", "a description", DRAWINGS[name])
    assert to_svg(chart) == to_svg(chart)


finite = st.floats(1e-6, 1e12)


@given(st.lists(finite, min_size=1, max_size=8), st.sampled_from(list(WORDS)), st.booleans(), st.booleans())
def test_a_scale_shows_every_value_between_its_first_and_last_tick(
    values: list[float], unit: Unit, log: bool, cut: bool
) -> None:
    found = scale(Axis("", unit, log=log, cut=cut), values, 0.0, 100.0)
    assert 2 <= len(found.ticks) <= 20
    assert list(found.ticks) == sorted(set(found.ticks))
    pixels = [found.at(value) for value in values]
    assert all(-1e-6 <= pixel <= 100 + 1e-6 for pixel in pixels)
    assert [at for _, at in sorted(zip(values, pixels, strict=True))] == sorted(pixels)
    if not log and not cut:
        assert found.low == 0
    assert len({tick_words(found.axis, tick) for tick in found.ticks}) == len(found.ticks)


@given(
    st.lists(st.tuples(st.floats(100, 5000), st.floats(0.5, 1)), min_size=1, max_size=24),
    st.integers(1, 18),
)
@settings(max_examples=60)
def test_no_name_of_a_point_touches_another(places: list[tuple[float, float]], length: int) -> None:
    points = tuple(Point(f"{'v' * length}{at}", x, y) for at, (x, y) in enumerate(places))
    root = drawn(Scatter(FAST, F1, points))
    boxes = [
        (float(text.attrib["x"]), float(text.attrib["y"]), width_of(text.text or ""))
        for group in root.findall("g[@class='halo']")
        for text in group.iter("text")
    ]
    assert len(boxes) == len(points)
    for (x1, y1, wide1), (x2, y2, wide2) in combinations(boxes, 2):
        assert abs(y1 - y2) >= 11 or x1 + wide1 <= x2 or x2 + wide2 <= x1


def test_a_limit_that_all_effects_share_is_one_line() -> None:
    def dashed(*limits: float) -> int:
        effects = tuple(
            Effect(f"row {at}", "same", "1.00 x", 1.0, limit=limit) for at, limit in enumerate(limits)
        )
        root = drawn(Forest(Axis("over static", "ratio", log=True), None, effects))
        lines = root.findall("path[@stroke-dasharray]")
        # The first is the sample in the key.
        return len(lines) - 1

    assert dashed(0.9, 0.9, 0.9) == 1
    assert dashed(0.9, 0.9, 0.8) == 3
