"""How a report reaches standard output: drawn for a terminal, plain UTF-8 for a file or a pipe."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from harness.output.formats import render
from harness.output.tables import make_console, report_table
from harness.results.models import Report


def print_report(report: Report, name: str = "table") -> None:
    """Print the report in the format of that name; in a GitHub step, `github` appends the summary too."""
    if name == "table" and sys.stdout.isatty():
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A terminal that cannot show a sign gets it spelt out, not a traceback.
            sys.stdout.reconfigure(errors="backslashreplace")
        make_console(sys.stdout).print(report_table(report))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(encoded(render(report, name)))
    sys.stdout.buffer.flush()
    if name == "github" and (summary := os.environ.get("GITHUB_STEP_SUMMARY")):
        _append_summary(report, Path(summary))


def encoded(text: str) -> bytes:
    """UTF-8. Every format's text is safe already; an oversight must not end in a traceback."""
    return text.encode("utf-8", "backslashreplace")


def _append_summary(report: Report, path: Path) -> None:
    from harness.output.github import step_summary  # noqa: PLC0415 - only in that environment

    with path.open("a", encoding="utf-8") as file:
        file.write(step_summary(render(report, "markdown")))
