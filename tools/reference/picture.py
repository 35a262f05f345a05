"""The picture of the README: a chart of a sample report as an SVG file, for light and dark schemes."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Final

from harness.output.builders.report import report_document
from harness.output.plot.svg import to_svg
from harness.store.reading import load_report

_SAMPLE: Final = Path(__file__).parents[2] / "reports" / "samples" / "mrpc-minilm"
_CHART: Final = "Where the time goes"
# An image is shown on any background: it needs one itself, and the colours of a report's page.
_STYLE: Final = re.compile(r"^(?::root|@media|svg [.gp]|\.c\d|  :root| +--|\}).*$", re.MULTILINE)
# Space below the last line of text, which an image would cut off.
_BELOW: Final = 5


def padding_picture() -> str:
    """Return where the time goes under each padding, of MiniLM on MRPC."""
    (chart,) = (
        chart for chart in report_document(load_report(_SAMPLE)).charts if chart.title.startswith(_CHART)
    )
    page = (
        files("harness.output").joinpath("page.css").read_text(encoding="utf-8").partition("@media print")[0]
    )
    style = "\n".join(_STYLE.findall(page))
    svg = to_svg(chart).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    svg = re.sub(
        r'(viewBox="0 0 \d+) (\d+)"', lambda found: f'{found[1]} {int(found[2]) + _BELOW}"', svg, count=1
    )
    head, desc, body = svg.partition("</desc>\n")
    paper = '<rect width="100%" height="100%" fill="#ffffff" class="paper"/>'
    return f"{head}{desc}<style>\n{style}\n</style>\n{paper}\n{body}\n"
