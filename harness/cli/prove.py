"""`harness prove`: show what each variant of a suite computes, and how its engine trains."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import click

from harness.analysis.parity import verdict_of
from harness.analysis.training import training_verdict
from harness.cli.messages import say
from harness.cli.suite_options import (
    assets_option,
    overrides_option,
    runner_option,
    suite_argument,
)
from harness.cli.writing import failing_as_json, output_options, target_of, write
from harness.errors import exit_code
from harness.output.builders.proofs import proofs_document
from harness.output.live import view
from harness.running.interrupts import Interrupt
from harness.running.options import RunOptions
from harness.running.run import prove_suite
from harness.suite.reading import parse_suite
from harness.suite.text import read_bytes, shown


@click.command(
    "prove", short_help="Show that each variant computes the plain function and trains as a reference."
)
@suite_argument
@overrides_option
@assets_option
@runner_option
@click.option("--json/--no-json", "as_json", help="The same as --format json.")
@output_options("list of proofs")
def command(
    *,
    suite: Path,
    overrides: tuple[str, ...],
    assets: Literal["auto", "hub", "embedded"],
    runner: str,
    as_json: bool,
    wanted: str | None,
    output: Path | None,
) -> int:
    """Compare each distinct variant of SUITE with the plain model, on the same weights with dropout off.

    The plain model is the library's own: eager attention, padded rows, fp32. Shown are the largest
    difference of a logit, the relative error of one step's gradient and the predictions that flipped, each
    beside the limit of its precision. A variant in bf16 or fp16 is compared in fp32 as well.

    Then train a small model of each checkpoint's family with each engine, padding, precision, optimizer and
    schedule of SUITE, and compare batches, losses, learning rates, parameters, dropout, evaluation and seeds
    with a reference that shares no code with the engines. `harness run` does both before its first trial.

    The exit code is 0 if every variant computes the plain function and trains as the reference, and 1 if one
    does not, or cannot be proved.
    """
    target = target_of("list of proofs", wanted, output, as_json=as_json)
    try:
        with failing_as_json("list of proofs", "prove", target), ExitStack() as screen:
            parsed = parse_suite(read_bytes(suite), shown(suite), overrides)
            watching = screen.enter_context(view(sys.stderr, sys.stderr.isatty()))
            proofs = prove_suite(parsed, RunOptions(assets=assets, runner=runner), observer=watching)
    except Interrupt as interrupt:
        say(str(interrupt))
        return interrupt.exit_code
    write(proofs_document(proofs.functions, proofs.trainings), target)
    computes = all(verdict_of(proof) in ("exact", "within") for proof in proofs.functions)
    trains = all(training_verdict(proof) == "same" for proof in proofs.trainings)
    return exit_code(passed=computes and trains)
