"""`harness list`: the runs in the folder of reports."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from harness.cli.run_options import field_option
from harness.cli.shared_options import harness_command, output_options
from harness.cli.writing_results import Target, write
from harness.errors import ExitCode
from harness.output.builders.listings import runs_document
from harness.store.listing import stored_runs


@harness_command("list", epilog="For example:  harness list --reports reports")
@field_option("reports")
@output_options("list of runs")
def command(reports: Path, target: Target) -> ExitCode:
    """List the runs: state, suite, age, size, the highest score and the highest speed.

    An unfinished run goes on where it stopped when its suite is run again. The exit code is 2 if a file of a
    run cannot be read.
    """
    runs = list(stored_runs(reports))
    missing = None if reports.is_dir() else reports
    write(runs_document(runs, datetime.now(UTC), missing=missing), target)
    return ExitCode.INVALID_INPUT if any(run.state == "unreadable" for run in runs) else ExitCode.SUCCESS
