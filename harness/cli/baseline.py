"""`harness baseline`: keep a report to be compared with, list those that are kept, show one."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.writing import allow_unsealed_option, failing_as_json, output_options, target_of, write
from harness.errors import ExitCode, InvalidInputError
from harness.output.builders.baselines import Kept, baselines_document, kept
from harness.output.builders.report import report_document
from harness.output.safe_text import safe_text
from harness.store.baselines import REPORTS, find_baseline, keep_baseline, kept_baselines
from harness.store.reading import load_report

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
    new = keep_baseline(load_report(report, allow_unsealed=allow_unsealed), name, reports, force=force)
    replaced = "" if new.replaced is None else f", in the place of {safe_text(new.replaced, 200)}"
    click.echo(f"kept {safe_text(str(new.file))}{replaced}")


@command.command("list")
@_REPORTS
@output_options("list of baselines", "-o")
def list_(reports: Path, wanted: str | None, output: Path | None) -> int | None:
    """List the baselines that are kept; one that cannot be read is listed too and makes the exit code 2."""
    target = target_of("list of baselines", wanted, output)
    found = [_read(name, path) for name, path in kept_baselines(reports).items()]
    write(baselines_document(found), target)
    return ExitCode.INVALID_INPUT if any(one.damaged for one in found) else ExitCode.SUCCESS


def _read(name: str, path: Path) -> Kept:
    try:
        return kept(name, load_report(path, allow_unsealed=True))
    except InvalidInputError as error:
        return Kept(name, damaged=error.message)


@command.command("show")
@click.argument("name")
@_REPORTS
@output_options("report", "-o")
def show(name: str, reports: Path, wanted: str | None, output: Path | None) -> None:
    """Print the table of the baseline NAME, or write it in another format."""
    target = target_of("report", wanted, output)
    with failing_as_json("report", "baseline", target):
        report = load_report(find_baseline(name, reports), allow_unsealed=True)
    write(report_document(report), target)
