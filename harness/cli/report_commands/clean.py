"""`harness clean`: remove old runs, and never a baseline or a run that a process works on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from harness.cli.messages import print_error
from harness.cli.run_options import field_option
from harness.cli.shared_options import harness_command, option, output_options
from harness.cli.writing_results import Target, write
from harness.errors import ExitCode, StorageError
from harness.output.builders.listings import cleaning_document
from harness.store.listing import fates_of, remove_runs


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
def command(keep: int, reports: Path, target: Target, *, dry_run: bool) -> ExitCode:
    """Remove the runs of each suite beyond the newest, finished or not.

    A run whose report is a kept baseline, and one that a process has locked, stay; so do the sessions of
    `harness ab`, each of which is a folder ab-KEY. The exit code is 74 if a run cannot be removed.
    """
    fates, problems = fates_of(reports, keep), list[StorageError]()
    if not dry_run:
        fates, problems = remove_runs(reports, fates)
    missing = None if reports.is_dir() else reports
    write(cleaning_document(fates, datetime.now(UTC), dry=dry_run, missing=missing), target)
    for problem in dict.fromkeys(map(str, problems)):
        print_error(problem)
    return ExitCode.STORAGE if problems else ExitCode.SUCCESS
