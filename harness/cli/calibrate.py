"""`harness calibrate`: measure, list and remove this machine's timing noise, which compare and check use."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal

import click

from harness.analysis.noise import LEAST_REPEATS, Noise, calibrate, suite_of
from harness.analysis.noise_store import clear_noise, noise_files, read_noise, stored_noise, write_noise
from harness.assets.places import cache_root
from harness.cli.suite_options import (
    assets_option,
    overrides_option,
    reports_option,
    runner_option,
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
from harness.results.models import Report
from harness.runs import run_suite
from harness.suite.matrix import expand
from harness.suite.models import Suite
from harness.suite.reading import read_suite
from harness.trial import Trial

_BUSY: Final = 0.2


@click.command(epilog="For example:  harness calibrate suites/quickstart.yaml --repeats 5")
@click.argument("suite", type=click.Path(path_type=Path), required=False)
@overrides_option
@click.option(
    "--repeats",
    type=click.IntRange(LEAST_REPEATS, 1_000),
    default=5,
    show_default=True,
    help="How often the same trial is run.",
)
@click.option("--variant", metavar="ID", help="Which trial, by its id in `plan`. [default: the first]")
@click.option("--list", "listed", is_flag=True, help="List the stored calibrations and measure nothing.")
@click.option("--clear", is_flag=True, help="Remove the stored calibrations and measure nothing.")
@assets_option
@reports_option
@runner_option
def command(
    *,
    suite: Path | None,
    overrides: tuple[str, ...],
    repeats: int,
    variant: str | None,
    listed: bool,
    clear: bool,
    assets: Literal["auto", "hub", "embedded"],
    reports: Path,
    runner: str,
) -> int | None:
    """Run one trial of SUITE repeatedly and store this machine's timing noise.

    From then on `compare` calls a change of speed better or worse only where it exceeds that band, and
    `check` warns of a gate that is tighter. Both refuse a calibration that is damaged or was edited.
    """
    if sum((suite is not None, listed, clear)) != 1:
        raise click.UsageError("Give one of SUITE, --list and --clear.")
    if listed:
        return _list(noise_files(stored_noise()))
    if clear:
        removed = clear_noise(stored_noise())
        click.echo(f"removed {count(len(removed), 'calibration')} from {safe_text(str(stored_noise()))}")
        return None
    assert suite is not None
    asked = read_suite(suite, overrides)
    trial = _chosen(expand(asked, available_devices()), variant)
    options = RunOptions(assets=assets, reports=reports, fresh=True, parity=False, runner=runner)
    try:
        noise = calibrate(suite_of(trial, asked), repeats, lambda one: _run(one, options))
    except Interrupt as interrupt:
        _say(f"{interrupt}: nothing was kept")
        return 128 + interrupt.number
    file = write_noise(cache_root(_say, ("noise",)) / "noise", noise)
    make_console(sys.stdout).print(_table(noise))
    _say(f"kept: {file}")
    return None


def _list(files: Sequence[Path]) -> int | None:
    """Print a line for each band of each calibration; a file that cannot be read makes the exit code 2."""
    found, damaged = [], []
    for file in files:
        try:
            found.append(read_noise(file))
        except InvalidInputError as error:
            damaged.append(f"damaged: {error.message}\n{error.hint}")
    lines = [(noise, metric, band) for noise in found for metric, band in noise.bands.items()]
    if lines:
        columns = (
            Column("machine", tuple(noise.fingerprint for noise, _, _ in lines), numeric=False),
            Column(
                "measured", tuple(f"{noise.created:%Y-%m-%d %H:%M}" for noise, _, _ in lines), numeric=False
            ),
            Column("trial", tuple(_trial(noise) for noise, _, _ in lines), numeric=False),
            Column("metric", tuple(metric for _, metric, _ in lines), numeric=False),
            Column("band", tuple(f"±{100 * band:.2g} %" for _, _, band in lines)),
            Column("runs", tuple(str(noise.repeats) for noise, _, _ in lines)),
        )
        title = f"noise: {count(len(found), 'calibration')} in {safe_text(str(stored_noise()))}"
        table = FittedTable(title, [], [safe_column(column) for column in columns], [])
        make_console(sys.stdout).print(table)
    elif not damaged:
        click.echo(f"no calibration in {safe_text(str(stored_noise()))}: `harness calibrate SUITE` makes one")
    for line in damaged:
        _say(line)
    return 2 if damaged else None


def _trial(noise: Noise) -> str:
    return f"{noise.trial.checkpoint}, {noise.trial.padding}, {noise.trial.device}"


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
        subtitles=[safe_text(_trial(noise), 500)],
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
