"""`harness calibrate`: measure, list and remove this machine's timing noise, which compare and check use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from harness.analysis.over_time.noise import accumulated, calibrate, suite_of, verified
from harness.api import run_suite
from harness.assets.places import cache_root
from harness.cli.messages import print_note, watching
from harness.cli.run_options import run_options, seconds
from harness.cli.shared_options import (
    SUITE,
    harness_command,
    option,
    output_options,
    set_option,
    verbosity_options,
)
from harness.cli.writing_results import Target, write
from harness.errors import ExitCode, InvalidInputError
from harness.machine.facts import available_devices
from harness.model.calibration import LEAST_REPEATS, Noise
from harness.model.results import Report
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.output.builders.this_machine import described, noise_document, stored_document
from harness.output.numbers import duration
from harness.output.safe_text import safe_text
from harness.running.interrupts import Interrupt
from harness.running.options import RunOptions
from harness.store.folders import make_folder
from harness.store.locking import LOCK, hold_lock
from harness.store.noise_file import (
    clear_noise,
    noise_file,
    noise_files,
    read_noise,
    stored_noise,
    write_noise,
)
from harness.suite.matrix import expand
from harness.suite.suite_file import read_suite
from harness.words import count

# parameter -> the option that sets it, for those that only a measurement uses
_OF_SUITE: Final = {
    "overrides": "--set",
    "repeats": "--repeats",
    "spread": "--spread",
    "variant": "--variant",
}


@harness_command("calibrate", epilog="For example:  harness calibrate quickstart --repeats 5")
@click.argument("suite", type=SUITE, required=False)
@set_option
@option(
    "--repeats",
    type=click.IntRange(LEAST_REPEATS, 1_000),
    default=5,
    show_default=True,
    metavar="N",
    help="Run the trial N times.",
    group="What to run",
)
@option(
    "--spread",
    metavar="DURATION",
    help="Calibrate N states of the machine instead, this far apart: 10m, 90s, 1h; two runs in each.",
    group="What to run",
)
@option(
    "--variant",
    metavar="ID",
    help="Run this trial, by its id in `plan`. [default: the first]",
    group="What to run",
)
@option(
    "--list/--no-list",
    "listed",
    help="List the stored calibrations and measure nothing.",
    group="What to run",
)
@option("--clear/--no-clear", help="Remove the stored calibrations and measure nothing.", group="What to run")
@run_options("assets", "reports", "runner", fresh=True, parity=False)
@output_options("calibration")
@verbosity_options
def command(
    *,
    suite: Path | None,
    overrides: tuple[str, ...],
    repeats: int,
    spread: str | None,
    variant: str | None,
    listed: bool,
    clear: bool,
    options: RunOptions,
    target: Target,
) -> int | None:
    """Run one trial of SUITE repeatedly and store this machine's timing noise.

    From then on `compare` calls a change of speed better or worse only where it exceeds that band, and
    `check` warns of a gate that is tighter. Both refuse a calibration that is damaged or was edited.

    Every calibration is one state of the machine and is added to the stored ones. Two separate runs differ by
    their states too: from two states on, `compare` and `check` test the speed of separate runs. Calibrate
    again at another time, or use --spread, which stores each state as soon as it is measured.
    """
    if sum((suite is not None, listed, clear)) != 1:
        raise click.UsageError("give one of SUITE, --list and --clear")
    if suite is None:
        _refuse_unused(target, clear=clear)
    if listed:
        return _list(target)
    if clear:
        removed = clear_noise(stored_noise())
        click.echo(f"removed {count(len(removed), 'calibration')} from {safe_text(str(stored_noise()))}")
        return None
    assert suite is not None
    pause_s = None if spread is None else seconds(spread, "--spread")
    asked = read_suite(suite, overrides)
    trial = _chosen(expand(asked, available_devices()), variant)
    states, runs = (1, repeats) if pause_s is None else (repeats, LEAST_REPEATS)
    for place in range(states):
        if place and pause_s:
            print_note(f"{place} of {states} states are stored; the next one starts in {duration(pause_s)}")
            time.sleep(pause_s)
        try:
            noise = calibrate(suite_of(trial, asked), runs, lambda one: _run(one, options))
        except Interrupt as interrupt:
            print_note(f"{interrupt}: {count(place, 'state')} of this calibration stored")
            return interrupt.exit_code
        file, noise = _store(noise)
    write(noise_document(noise), target)
    print_note(f"kept: {file}")
    return None


def _refuse_unused(target: Target, *, clear: bool) -> None:
    """Refuse options that `--list` and `--clear` would ignore."""
    context = click.get_current_context()
    given = [
        flag
        for name, flag in _OF_SUITE.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)} cannot be used without SUITE: nothing is measured")
    if clear and target != Target("table"):
        raise click.UsageError("--clear writes no result: leave out --format, --json and --output")


def _store(new: Noise) -> tuple[Path, Noise]:
    """Add a calibration to the stored ones of its machine; return the file and its content."""
    folder = cache_root(print_note, ("noise",)) / "noise"
    make_folder(folder)
    # Another calibration that ends meanwhile would lose its state.
    with hold_lock(folder / LOCK, wait=True):
        kept = _kept(noise_file(folder, new.fingerprint))
        noise = accumulated(kept, new)
        if kept is not None and noise is new:
            print_note(f"replaced the calibration of another trial, {described(kept)}")
        return write_noise(folder, noise), noise


def _kept(file: Path) -> Noise | None:
    """The stored calibration, None where there is none or where it is damaged, which is told."""
    if not file.exists():
        return None
    try:
        return verified(read_noise(file))
    except InvalidInputError as error:
        print_note(f"replaced a damaged calibration: {error.message}")
        return None


def _list(target: Target) -> int | None:
    """Write the stored calibrations; a file that cannot be read makes the exit code 2."""
    found, damaged = [], []
    for file in noise_files(stored_noise()):
        try:
            found.append(verified(read_noise(file)))
        except InvalidInputError as error:
            damaged.append(f"damaged: {error.message}\n{error.hint}")
    write(stored_document(found, str(stored_noise()), damaged=bool(damaged)), target)
    for line in damaged:
        print_note(line)
    return ExitCode.INVALID_INPUT if damaged else ExitCode.SUCCESS


def _chosen(trials: Sequence[Trial], wanted: str | None) -> Trial:
    """The first trial, or the first whose id or variant's id is the one wanted."""
    if wanted is None:
        return trials[0]
    for trial in trials:
        if wanted in (trial.id, trial.variant_id):
            return trial
    raise InvalidInputError(
        f"no trial of the suite has the id {wanted!r}", hint="`harness plan SUITE` lists them."
    )


def _run(suite: Suite, options: RunOptions) -> Report:
    with watching() as observer:
        run = run_suite(suite, options, observer=observer)
    if run.interrupted is not None:
        raise Interrupt(run.interrupted)
    return run.report
