"""A document as GitHub-flavoured Markdown, and the escaping that keeps text from becoming markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from harness.output.document import Column, Document, Table
from harness.output.plot.twin import twin
from harness.output.safe_text import safe_text

LONGEST_TEXT: Final = 2_000

_MARKUP: Final = re.compile(
    r"[\\`*{}\[\]<>&#~|!$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//)|(?<=www)\.", re.IGNORECASE
)
_LIST_OR_RULE: Final = re.compile(r"^(\d{1,9})([.)])(?=\s|$)|^([-+=])")
_MENTION: Final = re.compile(r"@(?=\w)")


def markdown_text(text: str) -> str:
    """Escape a text so that no markup, link, mention or table cell begins in it."""
    escaped = _MARKUP.sub(lambda found: "\\" + found[0], safe_text(text.strip(), LONGEST_TEXT))
    escaped = _LIST_OR_RULE.sub(
        lambda found: f"{found[1]}\\{found[2]}" if found[1] else f"\\{found[3]}", escaped
    )
    # A comment, which shows nothing, is the one thing GitHub lets end a mention and an address.
    return _MENTION.sub("@<!-- -->", escaped)


def to_markdown(document: Document) -> str:
    """The whole document: answer, main table and notes, then every other part under its heading.

    A chart is its table, unless the other tables have its numbers.
    """
    main, *others = document.tables or (Table(""),)
    sections = [
        f"# {markdown_text(document.heading)}",
        markdown_text(document.answer),
        _list([*document.remarks, *document.summary]),
        _table(main.columns),
        _list([*document.notes, *main.notes]),
    ]
    charts = [
        Table(chart.title, twin(chart.drawing), notes=chart.notes)
        for chart in document.charts
        if not chart.repeats
    ]
    for table in (*charts, *others, *document.details):
        sections += [
            f"## {markdown_text(table.title)}",
            _table(table.columns),
            _list([*(f"{name}: {text}" for name, text in table.pairs), *_logs(table), *table.notes]),
        ]
    sections += map(markdown_text, (*document.verdict, document.footer))
    return "\n\n".join(section for section in sections if section) + "\n"


def _table(shown: Sequence[Column]) -> str:
    """The columns as a table, numbers aligned to the right."""
    if not shown:
        return ""
    head = [markdown_text(column.title) for column in shown]
    rule = ["---:" if column.numeric else "---" for column in shown]
    body = [
        [markdown_text(cell) for cell in cells]
        for cells in zip(*(column.cells for column in shown), strict=True)
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *body))


def _logs(table: Table) -> list[str]:
    """Return the name of each log with its last line."""
    return [
        f"{name}: {log.strip().splitlines()[-1] if log.strip() else 'no log'}" for name, log in table.logs
    ]


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {markdown_text(line)}" for line in lines)
