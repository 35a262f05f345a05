"""`harness baseline`: keep, list and show baselines."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.parsing import Group
from harness.cli.run_options import field_option
from harness.cli.shared_options import allow_unsealed_option, option, output_options, report_argument
from harness.cli.writing_results import Target, write
from harness.errors import ExitCode, InvalidInputError
from harness.output.builders.listings import Kept, baselines_document, kept
from harness.output.builders.report import report_document
from harness.output.safe_text import safe_text
from harness.store.baselines import find_baseline, keep_baseline, kept_baselines
from harness.store.reading import load_report


@click.group(
    "baseline",
    cls=Group,
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
    new = keep_baseline(load_report(report, allow_unsealed=allow_unsealed), name, reports, force=force)
    replaced = "" if new.replaced is None else f", replacing {safe_text(new.replaced, 200)}"
    click.echo(f"kept {safe_text(str(new.file))}{replaced}")


@command.command("list")
@field_option("reports")
@output_options("list of baselines")
def list_(reports: Path, target: Target) -> ExitCode:
    """List the baselines. The exit code is 2 if one of them cannot be read."""
    found = [_read(name, path) for name, path in kept_baselines(reports).items()]
    write(baselines_document(found), target)
    return ExitCode.INVALID_INPUT if any(one.unreadable for one in found) else ExitCode.SUCCESS


def _read(name: str, path: Path) -> Kept:
    try:
        return kept(name, load_report(path, allow_unsealed=True))
    except InvalidInputError as error:
        return Kept(name, unreadable=error.message)


@command.command("show")
@click.argument("name")
@field_option("reports")
@output_options("report")
def show(name: str, reports: Path, target: Target) -> None:
    """Print the table of the baseline NAME, or write it in another format."""
    report = load_report(find_baseline(name, reports), allow_unsealed=True)
    write(report_document(report, verify=True), target)
