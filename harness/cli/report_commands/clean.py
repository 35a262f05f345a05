"""`harness clean`: remove old runs, and never a baseline or a run that a process works on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from harness.cli.run_options import field_option
from harness.cli.shared_options import harness_command, option, output_options
from harness.cli.writing_results import Target, write
from harness.output.builders.listings import cleaning_document
from harness.store.listing import fates_of, remove_run, sweep_removed


@harness_command("clean", epilog="For example:  harness clean --keep 5 --dry-run")
@option(
    "--keep",
    type=click.IntRange(0),
    required=True,
    metavar="N",
    help="Keep the N newest runs of each suite.",
    group="What to run",
)
@option("--dry-run/--no-dry-run", help="Remove nothing: show what would be removed.", group="What to run")
@field_option("reports")
@output_options("list of runs")
def command(keep: int, reports: Path, target: Target, *, dry_run: bool) -> None:
    """Remove the runs of each suite beyond the newest, finished or not.

    A run whose report is a kept baseline, and one that a process has locked, stay.
    """
    fates = fates_of(reports, keep)
    removed = [fate.run for fate in fates if not fate.kept and (dry_run or remove_run(fate.run.path))]
    if not dry_run:
        sweep_removed(reports)
    missing = None if reports.is_dir() else reports
    write(cleaning_document(fates, removed, datetime.now(UTC), dry=dry_run, missing=missing), target)
