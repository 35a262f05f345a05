"""`harness prove`: show what each variant of a suite computes, and train nothing."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import click

from harness.analysis.parity import verdict_of
from harness.cli.suite_options import (
    assets_option,
    overrides_option,
    runner_option,
    suite_argument,
)
from harness.execution.interrupts import Interrupt
from harness.execution.options import RunOptions
from harness.execution.run import prove_suite
from harness.output.live import view
from harness.output.proofs import proofs_table, summary
from harness.output.safe_text import safe_text
from harness.output.tables import make_console, plain
from harness.suite.reading import parse_suite
from harness.suite.text import read_bytes, shown


@click.command("prove", short_help="Show that each variant of a suite computes the plain function.")
@suite_argument
@overrides_option
@assets_option
@runner_option
def command(
    *, suite: Path, overrides: tuple[str, ...], assets: Literal["auto", "hub", "embedded"], runner: str
) -> int:
    """Compare each distinct variant of SUITE with the plain model, on the same weights with dropout off.

    The plain model is the library's own: eager attention, padded rows, fp32. Shown are the largest
    difference of a logit, the relative error of one step's gradient and the predictions that flipped, each
    beside the limit of its precision. `harness run` does the same before its first trial.

    The exit code is 0 if every variant computes the plain function and 1 if one does not, or cannot be
    proved.
    """
    text = read_bytes(suite)
    parsed = parse_suite(text, shown(suite), overrides)
    options = RunOptions(assets=assets, runner=runner)
    try:
        with ExitStack() as screen:
            watching = screen.enter_context(view(sys.stderr, sys.stderr.isatty()))
            proofs = prove_suite(parsed, options, observer=watching)
    except Interrupt as interrupt:
        click.echo(safe_text(str(interrupt)), err=True)
        return 128 + interrupt.number
    console = make_console(sys.stdout)
    click.echo(plain(proofs_table(proofs), console.width), nl=False)
    click.echo(f"parity: {summary(proofs)}")
    return 0 if all(verdict_of(proof) in ("exact", "within") for proof in proofs) else 1
