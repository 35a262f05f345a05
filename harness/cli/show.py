"""`harness show`: print a report's table again, or write it in another format."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.messages import say
from harness.cli.printing import encoded, print_report
from harness.output.formats.registry import FORMATS, format_of, render
from harness.store.reading import load_report
from harness.store.writing import write_atomic


@click.command(epilog="For example:  harness show report.json --output report.html")
@click.argument("report", type=click.Path(path_type=Path))
@click.option(
    "--format", "wanted", type=click.Choice(list(FORMATS)), help="How to write it. [default: table]"
)
@click.option("--json/--no-json", "as_json", help="The same as --format json.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Write to this file, in the format of its ending."
)
@click.option(
    "--roofline/--no-roofline",
    help="Also hold each variant against the peaks of its machine, below the table.",
)
def command(report: Path, wanted: str | None, as_json: bool, output: Path | None, roofline: bool) -> None:
    """Print the table of REPORT, a report.json or the folder of a run, or write it in another format."""
    if as_json and wanted not in (None, "json"):
        raise click.UsageError(f"--json and --format {wanted} exclude each other.")
    name = "json" if as_json else wanted
    if output is not None:
        name = name or format_of(output)
        write_atomic(
            output, encoded(render(load_report(report, allow_unsealed=True), name, roofline=roofline))
        )
        say(f"wrote {output}")
        return
    print_report(load_report(report, allow_unsealed=True), name or "table", roofline=roofline)
