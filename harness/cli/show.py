"""`harness show`: print a report's table again, or write it in another format."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import click

from harness.output.formats import FORMATS, format_of, render
from harness.output.tables import make_console, report_table
from harness.results.models import Report
from harness.results.reading import load_report
from harness.results.writing import write_atomic


@click.command(epilog="For example:  harness show report.json --output report.html")
@click.argument("report", type=click.Path(path_type=Path))
@click.option(
    "--format", "wanted", type=click.Choice(list(FORMATS)), help="How to write it. [default: table]"
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Write to this file, in the format of its ending."
)
def command(report: Path, wanted: str | None, as_json: bool, output: Path | None) -> None:
    """Print the table of REPORT, a report.json or the folder of a run, or write it in another format."""
    if as_json and wanted not in (None, "json"):
        raise click.UsageError(f"--json and --format {wanted} exclude each other.")
    name = "json" if as_json else wanted
    if output is not None:
        name = name or format_of(output)
        write_atomic(output, _encoded(render(load_report(report), name)))
        click.echo(f"wrote {output}", err=True)
        return
    _print(load_report(report), name or "table")


def _print(report: Report, name: str) -> None:
    if name == "table" and sys.stdout.isatty():
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        make_console(sys.stdout).print(report_table(report))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(_encoded(render(report, name)))
    sys.stdout.buffer.flush()
    if name == "github" and (summary := os.environ.get("GITHUB_STEP_SUMMARY")):
        _append_summary(report, Path(summary))


def _append_summary(report: Report, path: Path) -> None:
    from harness.output.github import step_summary  # noqa: PLC0415 - only in that environment

    with path.open("a", encoding="utf-8") as file:
        file.write(step_summary(render(report, "markdown")))


def _encoded(text: str) -> bytes:
    # Every format's text is safe already; this only keeps an oversight from ending in a traceback.
    return text.encode("utf-8", "backslashreplace")
