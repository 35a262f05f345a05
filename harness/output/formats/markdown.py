"""A report as GitHub-flavoured Markdown, and the escaping that keeps text from becoming markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from harness.analysis.summary import summarize
from harness.model.results import Report
from harness.output.cells import Column, columns
from harness.output.document import created, environment, history, proved, proved_training, reproduce
from harness.output.notes import notes
from harness.output.remarks import constants, parity, place, title
from harness.output.roofline import HEADING as ROOFLINE
from harness.output.roofline import roofline_columns, roofline_notes
from harness.output.safe_text import safe_text

LONGEST_TEXT: Final = 2_000

_MARKUP: Final = re.compile(
    r"[\\`*{}\[\]<>&#~|!$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//)|(?<=www)\.", re.IGNORECASE
)
_LIST_OR_RULE: Final = re.compile(r"^(\d{1,9})([.)])(?=\s|$)|^([-+=])")
_MENTION: Final = re.compile(r"@(?=\w)")


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it stands: no markup, link, mention or table cell begins in it."""
    escaped = _MARKUP.sub(lambda found: "\\" + found[0], safe_text(text.strip(), LONGEST_TEXT))
    escaped = _LIST_OR_RULE.sub(
        lambda found: f"{found[1]}\\{found[2]}" if found[1] else f"\\{found[3]}", escaped
    )
    # A comment, which shows nothing, is the one thing GitHub lets end a mention and an address.
    return _MENTION.sub("@<!-- -->", escaped)


def to_markdown(report: Report) -> str:
    """The whole report: table, notes, the epochs, the environment, how to run it again."""
    rows = summarize(report)
    sections = [
        f"# {markdown_text(title(report))}",
        _list(line for line in (constants(report), place(report), *parity(report, rows)) if line),
        markdown_table(columns(report, rows)),
        _list(notes(report, rows)),
        f"Run {markdown_text(report.run)}, {created(report)}, "
        f"harness {markdown_text(report.harness_version)}.",
    ]
    if report.proofs:
        sections += ["## Parity with the plain model", markdown_table(proved(report.proofs))]
    if report.training_proofs:
        sections += [
            "## Training against the reference",
            markdown_table(proved_training(report.training_proofs)),
        ]
    if peaks := roofline_columns(report, rows):
        sections += [f"## {ROOFLINE}", markdown_table(peaks), _list(roofline_notes(report, rows))]
    if epochs := history(report, rows):
        sections += ["## Epochs", "Means over the seeds.", markdown_table(epochs)]
    sections += [
        "## Environment",
        _list(f"{name}: {value}" for name, value in environment(report)),
        "## Run it again",
        _list(reproduce(report)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def markdown_table(shown: Sequence[Column]) -> str:
    """The columns as a table; numbers stand to the right."""
    if not shown:
        return ""
    head = [markdown_text(column.title) for column in shown]
    rule = ["---:" if column.numeric else "---" for column in shown]
    body = [
        [markdown_text(cell) for cell in cells]
        for cells in zip(*(column.cells for column in shown), strict=True)
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *body))


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {markdown_text(line)}" for line in lines)
