"""A report as one HTML page that needs nothing else: no script, no font, no address outside it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Final

from harness.analysis.rows import Row
from harness.analysis.summary import summarize
from harness.model.results import Report
from harness.output.cells import Column, columns
from harness.output.document import created, environment, history, proved, proved_training, reproduce
from harness.output.notes import notes
from harness.output.numbers import rate
from harness.output.remarks import constants, parity, place, remarks, title
from harness.output.roofline import HEADING as ROOFLINE
from harness.output.roofline import roofline_columns, roofline_notes
from harness.output.safe_text import safe_text

LONGEST_TEXT: Final = 2_000

_BAR_HEIGHT: Final = 26
_NAME_WIDTH: Final = 260
_BAR_WIDTH: Final = 380


def html_text(text: str) -> str:
    """Text that HTML shows as it stands, also inside an attribute."""
    return html.escape(safe_text(text, LONGEST_TEXT), quote=True)


def to_html(report: Report) -> str:
    """The whole report as a page: table, speed as bars, notes, the epochs, the environment."""
    rows = summarize(report)
    style = files("harness.output").joinpath("page.css").read_text(encoding="utf-8")
    heading = html_text(title(report))
    pairs = "".join(
        f"<dt>{html_text(name)}</dt><dd>{html_text(text)}</dd>" for name, text in environment(report)
    )
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'\">",
            f"<title>{heading}</title>",
            f"<style>\n{style}</style></head>",
            f"<body><main>\n<h1>{heading}</h1>",
            f"<p>{html_text(constants(report))}</p>",
            f"<p>{html_text(place(report))}</p>",
            *(f"<p>{html_text(line)}</p>" for line in parity(report, rows)),
            _table("Variants", columns(report, rows)),
            _bars(rows),
            f"<h2>Notes</h2>\n{_list(notes(report, rows))}",
            _section("Parity with the plain model", proved(report.proofs)),
            _section("Training against the reference", proved_training(report.training_proofs)),
            _roofline(report, rows),
            _section("Epochs, means over the seeds", history(report, rows)),
            f"<h2>Environment</h2>\n<dl>{pairs}</dl>",
            f"<h2>Run it again</h2>\n{_list(reproduce(report))}",
            f"<p>Run {html_text(report.run)}, {created(report)}, "
            f"harness {html_text(report.harness_version)}.</p>",
            "</main></body></html>\n",
        ]
    )


def _section(heading: str, shown: Sequence[Column]) -> str:
    return f"<h2>{html_text(heading)}</h2>\n{_table(heading, shown)}" if shown else ""


def _roofline(report: Report, rows: Sequence[Row]) -> str:
    peaks = roofline_columns(report, rows)
    return f"{_section(ROOFLINE, peaks)}\n{_list(roofline_notes(report, rows))}" if peaks else ""


def _table(caption: str, shown: Sequence[Column]) -> str:
    """A table in a box of its own that can be scrolled by keyboard where the page is narrow."""
    head = "".join(f'<th scope="col"{_class(column)}>{html_text(column.title)}</th>' for column in shown)
    body = "\n".join(
        "<tr>"
        + "".join(_cell(column, cell, at) for at, (column, cell) in enumerate(zip(shown, cells, strict=True)))
        + "</tr>"
        for cells in zip(*(column.cells for column in shown), strict=True)
    )
    name = html_text(caption)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{name}"><table><caption>{name}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(column: Column, cell: str, at: int) -> str:
    if at == 0:
        return f'<th scope="row">{html_text(cell)}</th>'
    return f"<td{_class(column)}>{html_text(cell)}</td>"


def _class(column: Column) -> str:
    return ' class="number"' if column.numeric else ""


def _list(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{html_text(line)}</li>" for line in lines) + "</ul>"


def _bars(rows: Sequence[Row]) -> str:
    """Real tokens per second by variant as inline SVG; the table above holds the same numbers."""
    speeds = [(row, row.speed) for row in rows if row.speed]
    if not speeds:
        return ""
    best = max(speed for _, speed in speeds)
    devices = len({row.trial.device for row in rows})
    bars = "\n".join(
        _bar(at, row, _BAR_WIDTH * speed / best, devices) for at, (row, speed) in enumerate(speeds)
    )
    width, height = _NAME_WIDTH + _BAR_WIDTH + 280, _BAR_HEIGHT * len(speeds)
    return (
        "<h2>Real tokens per second</h2>\n"
        f'<svg role="img" aria-labelledby="speed" viewBox="0 0 {width} {height}" width="{width}">\n'
        f'<title id="speed">Real tokens per second by variant, longer is faster</title>\n{bars}\n</svg>'
    )


def _bar(at: int, row: Row, length: float, devices: int) -> str:
    top, speed = at * _BAR_HEIGHT, row.speed
    label = row.label if len(row.label) <= 36 else f"{row.label[:35]}…"
    words = ", ".join([rate(speed), *remarks(row, devices)])
    return (
        f'<text x="{_NAME_WIDTH - 8}" y="{top + 17}" text-anchor="end">{html_text(label)}</text>'
        f'<rect x="{_NAME_WIDTH}" y="{top + 4}" width="{length:.1f}" height="18" rx="2"/>'
        f'<text x="{_NAME_WIDTH + length + 8:.1f}" y="{top + 17}">{html_text(words)}</text>'
    )
