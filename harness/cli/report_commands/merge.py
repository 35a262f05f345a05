"""`harness merge`: one run with every trial of the shards of a plan."""

from __future__ import annotations

from pathlib import Path

import click

from harness.api import render_files
from harness.cli.messages import print_note
from harness.cli.shared_options import PATH, harness_command, option, output_options, verbosity_options
from harness.cli.writing_results import Target, write
from harness.output.builders.report import report_document
from harness.running.merging import merge_runs


@harness_command("merge", epilog="For example:  harness merge shards/* -o reports/merged")
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="RUNS...")
@option(
    "-o",
    "--output",
    type=PATH,
    required=True,
    metavar="FOLDER",
    help="The folder of the merged run; it must be new or empty.",
    group="Output",
)
@output_options("report", to_file=False)
@verbosity_options
def command(runs: tuple[Path, ...], output: Path, target: Target) -> None:
    """Merge RUNS, the folders of runs with --shard, into one run with every trial and its proofs.

    All must have the same plan, version and suite. The exit code is 3 if a trial is missing or has different
    results in two of them: nothing is written then, and the missing trials are named.
    """
    report = merge_runs(runs, output, render_files)
    write(report_document(report, verify=True), target)
    print_note(f"report: {output / 'report.json'}")
