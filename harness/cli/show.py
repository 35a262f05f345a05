"""`harness show`: print a report's table again, or write it in another format."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.writing import failing_as_json, output_options, target_of, write
from harness.output.builders.report import report_document
from harness.store.reading import load_report


@click.command(epilog="For example:  harness show report.json --output report.html")
@click.argument("report", type=click.Path(path_type=Path))
@output_options("report", "-o")
@click.option("--json/--no-json", "as_json", help="The same as --format json.")
@click.option(
    "--roofline/--no-roofline",
    help="Also compare each variant with the peaks of its machine, below the table.",
)
def command(report: Path, wanted: str | None, as_json: bool, output: Path | None, roofline: bool) -> None:
    """Print the table of REPORT, a report.json or the folder of a run, or write it in another format."""
    target = target_of("report", wanted, output, as_json=as_json)
    with failing_as_json("report", "show", target):
        write(report_document(load_report(report, allow_unsealed=True), roofline=roofline), target)
