"""`harness inspect`: the data of a suite as a tokenizer and each padding change them, without training."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.messages import print_note
from harness.cli.run_options import field_option
from harness.cli.shared_options import (
    harness_command,
    option,
    output_options,
    set_option,
    suite_argument,
    verbosity_options,
)
from harness.cli.writing_results import Target, write
from harness.model.assets import AssetsMode
from harness.output.builders.inspected_data import inspection_document
from harness.running.preflight import RealAssets
from harness.running.workers.inspection_process import Wanted, inspect_suite
from harness.suite.suite_file import read_suite

_NUMBER = click.IntRange(min=0)


@harness_command("inspect", epilog="For example:  harness inspect padding -o data.html")
@suite_argument
@set_option
@option(
    "--example",
    type=_NUMBER,
    default=0,
    show_default=True,
    metavar="N",
    help="The row of the training split to show, from 0.",
    group="What to show",
)
@option(
    "--batch",
    type=_NUMBER,
    default=0,
    show_default=True,
    metavar="N",
    help="The batch of the first epoch to show, from 0.",
    group="What to show",
)
@option(
    "--checkpoint",
    metavar="NAME",
    help="Tokenize for this checkpoint. [default: the first one of the suite]",
    group="What to show",
)
@field_option("assets")
@output_options("inspection")
@verbosity_options
def command(
    *,
    suite: Path,
    overrides: tuple[str, ...],
    example: int,
    batch: int,
    checkpoint: str | None,
    assets: AssetsMode,
    target: Target,
) -> None:
    """Show the data of SUITE: one example raw and tokenized, and one batch under each padding of the suite.

    Also shown are the lengths of all rows, the shares of truncated rows and of unknown tokens, and the inputs
    that the model takes. Nothing is trained.
    """
    found = inspect_suite(
        read_suite(suite, overrides),
        RealAssets(assets),
        wanted=Wanted(checkpoint, example, batch),
        note=print_note,
    )
    write(inspection_document(found), target)
