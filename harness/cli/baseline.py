"""`harness baseline`: keep, list and show baselines."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import allow_unsealed_option, field_option, option, report_argument
from harness.cli.parsing import Group
from harness.cli.printing import print_report
from harness.errors import InvalidInputError
from harness.output.safe_text import safe_text
from harness.store.baselines import find_baseline, keep_baseline, kept_baselines
from harness.store.reading import UNSEALED, load_report
from harness.words import count


@click.group(
    "baseline",
    cls=Group,
    short_help="Keep, list and show baselines.",
    epilog="For example:  harness baseline set reports/padding/RUN main",
)
def command() -> None:
    """Keep reports to compare with, as reports/baselines/NAME.json. Commit these files."""


@command.command("set")
@report_argument
@click.argument("name")
@field_option("reports")
@option("--force/--no-force", help="Keep even a report with failed or degenerate trials.")
@allow_unsealed_option
def set_(report: Path, name: str, reports: Path, *, force: bool, allow_unsealed: bool) -> None:
    """Keep REPORT as the baseline NAME; it replaces an earlier one."""
    kept = keep_baseline(load_report(report, allow_unsealed=allow_unsealed), name, reports, force=force)
    replaced = "" if kept.replaced is None else f", in the place of {safe_text(kept.replaced, 200)}"
    click.echo(f"kept {safe_text(str(kept.file))}{replaced}")


@command.command("list")
@field_option("reports")
def list_(reports: Path) -> int | None:
    """List the baselines. The exit code is 2 if one of them cannot be read."""
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
@field_option("reports")
def show(name: str, reports: Path) -> None:
    """Print the table of the baseline NAME."""
    print_report(load_report(find_baseline(name, reports), allow_unsealed=True))
