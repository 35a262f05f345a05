"""How a report reaches standard output: drawn for a terminal, plain UTF-8 for a file or a pipe."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from harness.cli.writing import encoded, write_text
from harness.model.results import Report
from harness.output.formats.github import active, report_annotations, step_summary
from harness.output.formats.json_text import safe_json
from harness.output.formats.registry import render
from harness.output.tables import make_console, report_table


def print_report(report: Report, name: str = "table", *, roofline: bool = False) -> None:
    """Print the report in the format of that name; in a GitHub step, `github` appends the summary too.

    `roofline` adds a table of the machine's peaks to the table.
    """
    if name == "table" and sys.stdout.isatty():
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A terminal that cannot show a sign gets it spelt out, not a traceback.
            sys.stdout.reconfigure(errors="backslashreplace")
        make_console(sys.stdout).print(report_table(report, roofline=roofline))
    else:
        write_text(render(report, name, roofline=roofline), None)
    tell_github(report_annotations(report), partial(render, report, "markdown"), name)


def print_stored(file: Path, brief: Report) -> None:
    """Print the report in the file as `print_report` does in JSON, line by line; `brief` is the same one."""
    sys.stdout.flush()
    # No character of a string is a raw newline in JSON, so each line is as safe as the whole.
    with file.open(encoding="utf-8", newline="\n") as lines:
        sys.stdout.buffer.writelines(encoded(safe_json(line)) for line in lines)
    sys.stdout.buffer.flush()
    tell_github(report_annotations(brief), partial(render, brief, "markdown"), "json")


def tell_github(annotations: str, summary: Callable[[], str], name: str) -> None:
    """In a step of GitHub Actions, annotations in its log and the Markdown in its summary.

    `name` is the format that standard output gets: as `github` it holds the annotations already.
    """
    if not active(os.environ):
        return
    if name != "github":
        # Its runner reads both streams, and standard output belongs to the result.
        click.echo(annotations, err=True, nl=False)
    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(step_summary(summary()))
