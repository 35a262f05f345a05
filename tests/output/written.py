"""Reports as text, for tests that need no document in between."""

from __future__ import annotations

from harness.model.results import Report
from harness.output.builders.report import report_document
from harness.output.formats import terminal
from harness.output.formats.known_formats import render


def written(report: Report, name: str, *, roofline: bool = False) -> str:
    """A report in the format of that name."""
    return render(report_document(report, roofline=roofline), name)


def to_table(report: Report, width: int = terminal.OFF_TERMINAL_WIDTH, *, roofline: bool = False) -> str:
    """A report as a terminal of that width shows it."""
    return terminal.to_table(report_document(report, roofline=roofline), width)
