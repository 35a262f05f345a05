"""`harness show`: print a report's table again, or write it in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.cli.reports import read_newest
from harness.cli.shared_options import (
    harness_command,
    option,
    output_options,
    report_argument,
    selection_option,
    verbosity_options,
)
from harness.cli.writing_results import Target, write
from harness.errors import InvalidInputError
from harness.output.builders.report import report_document

_WITH_TABLE: Final = ("table", "markdown", "html")


@harness_command("show", epilog="For example:  harness show report.json --output report.html")
@report_argument
@option(
    "--roofline/--no-roofline",
    help="Compare each variant with the peak rates of its machine, below the table.",
    group="Output",
)
@option(
    "--epochs/--no-epochs",
    "by_epoch",
    help="Print the loss and the scores after each epoch, below the table.",
    group="Output",
)
@selection_option("Output")
@option(
    "--columns",
    metavar="NAMES",
    help="Show these columns of the table: --columns 'F1,train time'.",
    group="Output",
)
@option(
    "--sort",
    "order",
    metavar="COLUMN",
    help="Sort the table by this column: the best number first, words by alphabet.",
    group="Output",
)
@output_options("report")
@verbosity_options
def command(
    *,
    report: Path,
    roofline: bool,
    by_epoch: bool,
    selection: str | None,
    columns: str | None,
    order: str | None,
    target: Target,
) -> None:
    """Print the table of REPORT, or write it in another format.

    REPORT is a report.json, the folder of a run, or a folder of runs, of which the newest is shown. A note
    names variants whose stored numbers contradict each other.
    """
    if selection is not None and target.name == "json":
        raise InvalidInputError(
            "-k cannot select from JSON: its digest covers the whole report",
            hint="Leave out -k, or write the selection as CSV: --format csv.",
        )
    if (columns or order) and target.name not in _WITH_TABLE:
        raise InvalidInputError(
            f"--columns and --sort arrange a table, and {target.name} has none",
            hint=f"Write one of {', '.join(_WITH_TABLE)}.",
        )
    document = report_document(
        read_newest(report),
        roofline=roofline,
        by_epoch=by_epoch,
        selection=selection,
        names=columns.split(",") if columns else (),
        order=order,
        verify=True,
    )
    write(document, target)
