"""`harness baseline`: keep a report to be compared with, list those that are kept, show one."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.writing import allow_unsealed_option, output_options, target_of, write
from harness.errors import InvalidInputError
from harness.output.builders.report import report_document
from harness.output.safe_text import safe_text
from harness.store.baselines import REPORTS, find_baseline, keep_baseline, kept_baselines
from harness.store.reading import UNSEALED, load_report
from harness.words import count

_REPORTS = click.option(
    "--reports",
    type=click.Path(path_type=Path),
    default=REPORTS,
    show_default=True,
    help="The folder that holds `baselines`.",
)


@click.group(
    "baseline",
    short_help="Keep a report to be compared with.",
    epilog="For example:  harness baseline set reports/padding/RUN main",
)
def command() -> None:
    """Keep reports to be compared with, under reports/baselines/NAME.json; commit them."""


@command.command("set")
@click.argument("report", type=click.Path(path_type=Path))
@click.argument("name")
@_REPORTS
@click.option("--force/--no-force", help="Keep even a report with failed or degenerate trials.")
@allow_unsealed_option
def set_(report: Path, name: str, reports: Path, *, force: bool, allow_unsealed: bool) -> None:
    """Keep REPORT as the baseline NAME, in the place of an earlier one."""
    kept = keep_baseline(load_report(report, allow_unsealed=allow_unsealed), name, reports, force=force)
    replaced = "" if kept.replaced is None else f", in the place of {safe_text(kept.replaced, 200)}"
    click.echo(f"kept {safe_text(str(kept.file))}{replaced}")


@command.command("list")
@_REPORTS
def list_(reports: Path) -> int | None:
    """List the baselines that are kept; one that cannot be read is told and makes the exit code 2."""
    damaged = False
    for name, path in kept_baselines(reports).items():
        try:
            report = load_report(path, allow_unsealed=True)
        except InvalidInputError as error:
            damaged = True
            click.echo(f"{safe_text(name)}  damaged: {safe_text(error.message, 500)}")
            continue
        created = report.created.strftime("%Y-%m-%d")
        trials = count(len(report.results), "trial")
        suite, run = safe_text(report.suite.name), safe_text(report.run, 100)
        unsealed = ", unsealed" if UNSEALED in report.notes else ""
        click.echo(f"{safe_text(name)}  {created}  {suite}, {trials}, run {run}{unsealed}")
    return 2 if damaged else None


@command.command("show")
@click.argument("name")
@_REPORTS
@output_options("report", "-o")
def show(name: str, reports: Path, wanted: str | None, output: Path | None) -> None:
    """Print the table of the baseline NAME, or write it in another format."""
    target = target_of("report", wanted, output)
    report = load_report(find_baseline(name, reports), allow_unsealed=True)
    write(report_document(report), target)
