"""A document as one self-contained HTML page: no script, no font, no address outside it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Final

from harness.output.document import Chart, Column, Document, Table, Tone
from harness.output.formats.markup import html_text
from harness.output.numbers import NOTHING
from harness.output.plot.svg import to_svg
from harness.output.plot.twin import twin
from harness.output.safe_text import safe_lines

# The end of a log is shown to be recognized, not to replace the file.
_LAST_LINES: Final = 12
_LONGEST_LINE: Final = 200
# A part that is folded away does not grow with a run; the main table has every row.
_MOST_DETAILS: Final = 100
# The style sheet has a class for text in each of the first columns.
_MOST_STYLED: Final = 12
# A last column of longer texts keeps its width where the table has to be scrolled.
_SENTENCE: Final = 30
_QUOTED: Final = re.compile(r'(?<==)"([\w#.%-]+)"(/?)')


def to_html(document: Document) -> str:
    """The whole document as a page: answer, lead charts, main table, other charts, notes and other parts."""
    style = _style()
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    heading = html_text(document.heading)
    main, *others = document.tables or (Table(""),)
    # The numbers of a chart may be a detail with its title.
    titles = {chart.title for chart in document.charts}
    own = {table.title: table for table in document.details if table.title in titles}
    lead = [_figure(chart, own.get(chart.title)) for chart in document.charts if chart.lead]
    later = [_figure(chart, own.get(chart.title)) for chart in document.charts if not chart.lead]
    parts = [
        "<!DOCTYPE html>",
        "<html lang=en>",
        "<head><meta charset=utf-8>",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Only the one style sheet below: no style attribute, script, font, image or form can act.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'\">",
        f"<title>{heading}</title>",
        f"<style>{style}</style></head>",
        f"<body><main>\n<h1>{heading}</h1>",
        *(f"<p class=terms>{html_text(line)}</p>" for line in document.summary),
        f"<p class=answer><strong>{html_text(document.answer)}</strong></p>" if document.answer else "",
        _list(document.remarks, "remarks"),
        _charts(lead),
        _table(main),
        _charts(later),
        _part(Table("Notes", notes=(*document.notes, *main.notes))),
        *map(_part, others),
        *(_folded(table) for table in document.details if table.title not in own),
        *(f"<p class=terms>{html_text(line)}</p>" for line in (*document.verdict, document.footer) if line),
        "</main></body></html>\n",
    ]
    return _unquoted("\n".join(part for part in parts if part))


def _unquoted(page: str) -> str:
    """Leave out the quotes that HTML does not need, around a word; a text has none, they are escaped."""
    return _QUOTED.sub(lambda found: f"{found[1]} /" if found[2] else found[1], page)


def _style() -> str:
    """Return the style sheet without the spaces that only its readers need."""
    written = files("harness.output").joinpath("page.css").read_text(encoding="utf-8")
    return re.sub(r"\s*([{};,>])\s*|(?<=:) |^\s+", r"\1", written).replace(";}", "}")


def _charts(figures: Sequence[str]) -> str:
    shown = "\n".join(figures)
    return f"<div class=charts>\n{shown}\n</div>" if shown else ""


def _figure(chart: Chart, detail: Table | None) -> str:
    """The picture, how to read it, and every number of it behind a summary: a detail, or its own table."""
    notes = "".join(f"<p class=how>{html_text(note)}</p>" for note in chart.notes)
    table = Table(chart.title, twin(chart.drawing)) if detail is None else _shortened(detail)
    return (
        f"<figure><figcaption><h2>{html_text(chart.title)}</h2></figcaption>\n{to_svg(chart)}\n{notes}"
        f"<details><summary>Numbers</summary>{_body(table, 'Numbers')}</details></figure>"
    )


def _part(table: Table) -> str:
    """A part under its heading; nothing where it is empty."""
    heading, shown = _heading(table), _body(table)
    return f"{heading}\n{shown}" if shown else ""


def _folded(table: Table) -> str:
    """A part behind its heading, the first rows of many; nothing where it is empty."""
    shown = _body(_shortened(table))
    return f"<details><summary>{_heading(table)}</summary>\n{shown}\n</details>" if shown else ""


def _heading(table: Table) -> str:
    return f"<h2>{html_text(table.title)}</h2>"


def _body(table: Table, label: str = "") -> str:
    pairs = "".join(f"<dt>{html_text(name)}</dt><dd>{html_text(text)}</dd>" for name, text in table.pairs)
    blocks = [_table(table, label), f"<dl>{pairs}</dl>" if pairs else "", *_logs(table), _list(table.notes)]
    return "\n".join(block for block in blocks if block)


def _shortened(table: Table) -> Table:
    rows = len(table.columns[0].cells) if table.columns else 0
    if rows <= _MOST_DETAILS:
        return table
    columns = tuple(
        replace(column, cells=column.cells[:_MOST_DETAILS], tones=column.tones[:_MOST_DETAILS])
        for column in table.columns
    )
    left = f"the first {_MOST_DETAILS} of {rows:,} rows; `--format markdown` has all"
    return replace(table, columns=columns, notes=(*table.notes, left))


def _logs(table: Table) -> Iterator[str]:
    for name, log in table.logs:
        lines = safe_lines(log)
        more = [f"({len(lines) - _LAST_LINES:,} earlier lines)"] if len(lines) > _LAST_LINES else []
        shown = "\n".join(html_text(line, _LONGEST_LINE) for line in (*more, *lines[-_LAST_LINES:]))
        yield f"<p>{html_text(name)}</p>" + (f"<pre>{shown}</pre>" if log else "")


def _table(table: Table, label: str = "") -> str:
    """A table in a box that can be scrolled by keyboard where the page is narrow; `label` names the box.

    HTML needs no end tags of cells and rows, and derives the scope of headers;
    the class of a table names its columns of text: together a third of a page.
    """
    columns = table.columns
    if not columns:
        return ""
    ranks = {row: rank for rank, row in table.ranking.places}
    rows = [*ranks]
    rows += [row for row in range(len(columns[0].cells)) if row not in ranks]
    # The style sheet counts places from 1; a rank takes the first.
    placed = list(enumerate(columns, 2 if ranks else 1))
    titles = "".join(f"<th{_class(column, place)}>{html_text(column.title)}" for place, column in placed)
    body = "\n".join(
        f"<tr>{_rank(ranks, row)}<th>{html_text(columns[0].cells[row])}"
        + "".join(_cell(column, row, place) for place, column in placed[1:])
        for row in rows
    )
    text = {1, placed[0][0], *(place for place, column in placed if not column.numeric)}
    styled = " ".join(f"t{place}" for place in sorted(text) if place <= _MOST_STYLED)
    last = columns[-1]
    if not last.numeric and max(map(len, last.cells), default=0) > _SENTENCE:
        styled += " s"
    name = html_text(table.title)
    return (
        f'<div class=wide role=group tabindex=0 aria-label="{html_text(label) or name}">'
        f'<table class="{styled}"><caption>{name}</caption>\n'
        f"<thead><tr>{'<th>rank' if ranks else ''}{titles}</thead>\n"
        f"<tbody>\n{body}\n</tbody></table></div>"
    ) + (f"<p class=how>{html_text(table.ranking.meaning)}</p>" if ranks else "")


def _rank(ranks: Mapping[int, str], row: int) -> str:
    return f"<td>{html_text(ranks.get(row, NOTHING))}" if ranks else ""


def _cell(column: Column, row: int, place: int) -> str:
    return f"<td{_class(column, place, column.tone(row))}>{html_text(column.cells[row])}"


def _class(column: Column, place: int, tone: Tone = "") -> str:
    """The tone of a cell, and its kind where the class of its table cannot name it."""
    text = "t" if place > _MOST_STYLED and not column.numeric else ""
    names = " ".join(filter(None, (text, tone)))
    return f' class="{names}"' if " " in names else f" class={names}" if names else ""


def _list(lines: Sequence[str], of: str = "") -> str:
    items = "".join(f"<li>{html_text(line)}" for line in lines)
    return f"<ul{of and f' class={of}'}>{items}</ul>" if lines else ""
