"""`harness calibrate`: how far this machine's times differ when nothing does; compare and check use it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal

import click

from harness.analysis.noise import LEAST_REPEATS, Noise, calibrate, noise_file, suite_of
from harness.assets.places import cache_root
from harness.cli.suite_options import (
    assets_option,
    overrides_option,
    reports_option,
    runner_option,
    suite_argument,
)
from harness.environment import available_devices
from harness.errors import InvalidInputError
from harness.execution.interrupts import Interrupt
from harness.execution.options import RunOptions
from harness.output.cells import Column
from harness.output.live import view
from harness.output.numbers import count
from harness.output.safe_text import safe_text
from harness.output.tables import FittedTable, make_console, safe_column
from harness.results.folders import make_folder
from harness.results.models import Report
from harness.results.writing import to_json, write_atomic
from harness.runs import run_suite
from harness.suite.matrix import expand
from harness.suite.models import Suite
from harness.suite.reading import read_suite
from harness.trial import Trial

_BUSY: Final = 0.2


@click.command(epilog="For example:  harness calibrate suites/quickstart.yaml --repeats 5")
@suite_argument
@overrides_option
@click.option(
    "--repeats",
    type=click.IntRange(LEAST_REPEATS, 1_000),
    default=5,
    show_default=True,
    help="How often the same trial is run.",
)
@click.option("--variant", metavar="ID", help="Which trial, by its id in `plan`. [default: the first]")
@assets_option
@reports_option
@runner_option
def command(
    *,
    suite: Path,
    overrides: tuple[str, ...],
    repeats: int,
    variant: str | None,
    assets: Literal["auto", "hub", "embedded"],
    reports: Path,
    runner: str,
) -> int | None:
    """Run one trial of SUITE against itself, and keep for this machine how far equal times lie apart.

    From then on `compare` calls a change of speed better or worse only where it exceeds that band, and
    `check` says of a gate that it is tighter.
    """
    asked = read_suite(suite, overrides)
    trial = _chosen(expand(asked, available_devices()), variant)
    options = RunOptions(assets=assets, reports=reports, fresh=True, parity=False, runner=runner)
    try:
        noise = calibrate(suite_of(trial, asked), repeats, lambda one: _run(one, options))
    except Interrupt as interrupt:
        _say(f"{interrupt}: nothing was kept")
        return 128 + interrupt.number
    file = noise_file(cache_root(_say) / "noise", noise.fingerprint)
    make_folder(file.parent)
    write_atomic(file, to_json(noise))
    make_console(sys.stdout).print(_table(noise))
    _say(f"kept: {file}")
    return None


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
    with ExitStack() as screen:
        watching = screen.enter_context(view(sys.stderr, sys.stderr.isatty()))
        run = run_suite(suite, options, observer=watching)
    if run.interrupted is not None:
        raise Interrupt(run.interrupted)
    return run.report


def _table(noise: Noise) -> FittedTable:
    bands = list(noise.bands.items())
    busy = [metric for metric, band in bands if band > _BUSY and metric.startswith("train_")]
    return FittedTable(
        title=f"noise of machine {noise.fingerprint}, {count(noise.repeats, 'equal run')}",
        subtitles=[safe_text(f"{noise.trial.checkpoint}, {noise.trial.padding}, {noise.trial.device}", 500)],
        columns=[
            safe_column(column)
            for column in (
                Column("metric", tuple(metric for metric, _ in bands), numeric=False),
                Column("band", tuple(f"±{100 * band:.2g} %" for _, band in bands)),
                Column("smallest", tuple(f"{min(noise.values[metric]):.4g}" for metric, _ in bands)),
                Column("largest", tuple(f"{max(noise.values[metric]):.4g}" for metric, _ in bands)),
            )
        ],
        notes=["is the machine busy? training should vary by a few percent"] if busy else [],
    )


def _say(text: str) -> None:
    click.echo(safe_text(text, 4_000), err=True)
