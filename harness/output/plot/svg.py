"""A chart as one SVG element with a title and a description."""

from __future__ import annotations

from harness.output.document import Chart
from harness.output.drawings import Arrows, Bars, Drawing, Forest, Lines, Scatter
from harness.output.formats.markup import html_text
from harness.output.plot.bars import bars, forest
from harness.output.plot.curves import lines, slope
from harness.output.plot.marks import FONT, INK, WIDTH, number
from harness.output.plot.points import arrows, scatter


def to_svg(chart: Chart) -> str:
    """Return the picture of a chart; its name is unique in the document and begins every id."""
    body, height = _drawn(chart.drawing, chart.name)
    name = chart.name
    return (
        f'<svg role="img" aria-labelledby="{name}-title {name}-desc" '
        f'viewBox="0 0 {number(WIDTH)} {number(height)}" width="{number(WIDTH)}" '
        f'font-family="sans-serif" font-size="{number(FONT)}" fill="{INK}" stroke-width="1.5">\n'
        f'<title id="{name}-title">{html_text(chart.title)}</title>'
        f'<desc id="{name}-desc">{html_text(chart.description)}</desc>\n{body}</svg>'
    )


def _drawn(drawing: Drawing, name: str) -> tuple[str, float]:
    if isinstance(drawing, Scatter):
        return scatter(drawing)
    if isinstance(drawing, Arrows):
        return arrows(drawing)
    if isinstance(drawing, Bars):
        return bars(drawing, name)
    if isinstance(drawing, Lines):
        return lines(drawing)
    if isinstance(drawing, Forest):
        return forest(drawing, name)
    return slope(drawing)
