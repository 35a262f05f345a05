"""`harness prove`: show what each variant of a suite computes, and how its engine trains."""

from __future__ import annotations

from pathlib import Path

from harness.api import prove_suite
from harness.cli.messages import print_note, watching
from harness.cli.run_options import run_options
from harness.cli.shared_options import (
    harness_command,
    output_options,
    set_option,
    suite_argument,
    verbosity_options,
)
from harness.cli.writing_results import Target, write
from harness.errors import exit_code
from harness.output.builders.proof_tables import proofs_document
from harness.running.interrupts import Interrupt
from harness.running.options import RunOptions
from harness.running.proof_store import passes
from harness.suite.suite_file import read_suite


@harness_command("prove")
@suite_argument
@set_option
@run_options("assets", "runner")
@output_options("list of proofs")
@verbosity_options
def command(*, suite: Path, overrides: tuple[str, ...], options: RunOptions, target: Target) -> int:
    """Compare each distinct variant of SUITE with the plain model, on the same weights with dropout off.

    The plain model is the library's own: eager attention, padded rows, fp32. Shown are the largest
    difference of a logit, the relative error of one step's gradient and the predictions that flipped, each
    with the limit of its precision. A variant in bf16 or fp16 is compared in fp32 as well.

    Then train a small model of each checkpoint's family with each engine, padding, precision, optimizer and
    schedule of SUITE, and compare batches, losses, learning rates, parameters, dropout, evaluation and seeds
    with a reference that shares no code with the engines. `harness run` does both before the first
    trial of a variant.

    The exit code is 0 if every variant computes the plain function and trains as the reference, and 1 if one
    does not, or cannot be proved.
    """
    parsed = read_suite(suite, overrides)
    try:
        with watching() as observer:
            proofs = prove_suite(parsed, options, observer=observer)
    except Interrupt as interrupt:
        print_note(str(interrupt))
        return interrupt.exit_code
    write(proofs_document(proofs.functions, proofs.trainings), target)
    return exit_code(passed=all(map(passes, (*proofs.functions, *proofs.trainings))))
