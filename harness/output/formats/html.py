"""A document as one self-contained HTML page: no script, no font, no address outside it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from harness.output.document import Bar, Chart, Column, Document, Table, Tone
from harness.output.safe_text import safe_text

LONGEST_TEXT: Final = 2_000

_BAR_HEIGHT: Final = 26
_NAME_WIDTH: Final = 260
_BAR_WIDTH: Final = 380


def html_text(text: str) -> str:
    """Escape a text for HTML, also inside an attribute."""
    return html.escape(safe_text(text, LONGEST_TEXT), quote=True)


def to_html(document: Document) -> str:
    """The whole document as a page: main table, charts and notes, then every other part under its heading."""
    style = files("harness.output").joinpath("page.css").read_text(encoding="utf-8")
    heading = html_text(document.heading)
    main, *others = document.tables or (Table(""),)
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
            *(f"<p>{html_text(line)}</p>" for line in document.summary),
            _table(main),
            *map(_chart, document.charts),
            _part(Table("Notes", notes=(*document.notes, *main.notes))),
            *map(_part, others),
            *(f"<p>{html_text(line)}</p>" for line in (*document.verdict, document.footer) if line),
            "</main></body></html>\n",
        ]
    )


def _part(table: Table) -> str:
    """A part under its heading; nothing where it is empty."""
    pairs = "".join(f"<dt>{html_text(name)}</dt><dd>{html_text(text)}</dd>" for name, text in table.pairs)
    blocks = [_table(table), f"<dl>{pairs}</dl>" if pairs else "", _list(table.notes)]
    shown = "\n".join(block for block in blocks if block)
    return f"<h2>{html_text(table.title)}</h2>\n{shown}" if shown else ""


def _table(table: Table) -> str:
    """A table in a box that can be scrolled by keyboard where the page is narrow."""
    shown = table.columns
    if not shown:
        return ""
    head = "".join(f'<th scope="col"{_class(column)}>{html_text(column.title)}</th>' for column in shown)
    body = "\n".join(
        f"<tr>{''.join(_cell(column, row, at) for at, column in enumerate(shown))}</tr>"
        for row in range(len(shown[0].cells))
    )
    name = html_text(table.title)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{name}"><table><caption>{name}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(column: Column, row: int, at: int) -> str:
    text = html_text(column.cells[row])
    return f"<td{_class(column, column.tone(row))}>{text}</td>" if at else f'<th scope="row">{text}</th>'


def _class(column: Column, tone: Tone = "") -> str:
    names = " ".join(name for name in ("number" if column.numeric else "", tone) if name)
    return f' class="{names}"' if names else ""


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{html_text(line)}</li>' for line in lines)}</ul>" if lines else ""


def _chart(chart: Chart) -> str:
    """Bars as inline SVG; the main table has the same numbers."""
    if not chart.bars:
        return ""
    most = max(bar.value for bar in chart.bars) or 1.0
    bars = "\n".join(_bar(at, bar, _BAR_WIDTH * bar.value / most) for at, bar in enumerate(chart.bars))
    width, height = _NAME_WIDTH + _BAR_WIDTH + 280, _BAR_HEIGHT * len(chart.bars)
    return (
        f"<h2>{html_text(chart.title)}</h2>\n"
        f'<svg role="img" aria-labelledby="{chart.name}" viewBox="0 0 {width} {height}" width="{width}">\n'
        f'<title id="{chart.name}">{html_text(chart.description)}</title>\n{bars}\n</svg>'
    )


def _bar(at: int, bar: Bar, length: float) -> str:
    top = at * _BAR_HEIGHT
    label = bar.label if len(bar.label) <= 36 else f"{bar.label[:35]}…"
    return (
        f'<text x="{_NAME_WIDTH - 8}" y="{top + 17}" text-anchor="end">{html_text(label)}</text>'
        f'<rect x="{_NAME_WIDTH}" y="{top + 4}" width="{length:.1f}" height="18" rx="2"/>'
        f'<text x="{_NAME_WIDTH + length + 8:.1f}" y="{top + 17}">{html_text(bar.words)}</text>'
    )
