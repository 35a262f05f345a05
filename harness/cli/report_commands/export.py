"""`harness export`: the trials of a report as runs of an experiment tracker, after the run."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from harness.cli.messages import print_note
from harness.cli.parsing import Names
from harness.cli.reports import read_newest, select_variants
from harness.cli.shared_options import (
    PATH,
    harness_command,
    option,
    output_options,
    report_argument,
    selection_option,
    verbosity_options,
)
from harness.cli.writing_results import Target, write
from harness.output.builders.listings import exports_document
from harness.output.trackers.known_trackers import TRACKERS, TrackerName, export
from harness.words import count

_FOLDERS = ", ".join(f"{place.folder} for {name}" for name, place in TRACKERS.items())


@harness_command("export", epilog="For example:  harness export reports/padding/RUN --to tensorboard")
@report_argument
@selection_option("What to show")
@option(
    "--to",
    "tracker",
    type=Names(get_args(TrackerName)),
    required=True,
    help="The tracker; its packages are the extra of that name.",
    group="Where",
)
@option(
    "-o",
    "--output",
    type=PATH,
    metavar="FOLDER",
    help=f"The folder of the tracker's store. [default: {_FOLDERS}]",
    group="Where",
)
@option("--project", metavar="NAME", help="The project or experiment. [default: the suite]", group="Where")
@output_options("list of exports", to_file=False)
@verbosity_options
def command(
    *,
    report: Path,
    selection: str | None,
    tracker: TrackerName,
    output: Path | None,
    project: str | None,
    target: Target,
) -> None:
    """Store the trials of REPORT in an experiment tracker, with their steps; it needs no network.

    A trial that is already stored is left as it is, so that the same report can be exported again. REPORT is
    a report.json, the folder of a run, or a folder of runs, of which the newest is exported.
    """
    (found,), told = select_variants([read_newest(report)], selection)
    for sentence in told:
        print_note(sentence)
    folder = output or TRACKERS[tracker].folder
    exported = list(export(found, tracker, folder, project or found.suite.name))
    write(exports_document(exported, tracker, str(folder)), target)
    if len(exported) < len(found.results):
        left_out = count(len(found.results) - len(exported), "trial")
        print_note(f"not exported: {left_out} without a start")
