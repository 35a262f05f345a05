"""`harness plan`: the trials of a suite and what each will use, before anything is run or fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click

from harness.assets.find_checkpoint import peek_checkpoint
from harness.cli.writing import failing_as_json, output_options, target_of, write
from harness.data.checking import plan_data
from harness.machine.facts import available_devices, installed_torch
from harness.model.assets import AssetsMode
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.output.builders.plan import Planned, plan_document
from harness.suite.matrix import expand
from harness.suite.reading import read_suite


@click.command
@click.argument("suite", type=click.Path(path_type=Path))
@click.option(
    "-o", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key, train.learning_rate=3e-5."
)
@click.option(
    "--assets",
    type=click.Choice(get_args(AssetsMode)),
    default="auto",
    show_default=True,
    help="Where checkpoints and data may come from.",
)
@click.option("--json/--no-json", "as_json", help="The same as --format json.")
@output_options("plan")
def command(
    *,
    suite: Path,
    overrides: tuple[str, ...],
    assets: AssetsMode,
    as_json: bool,
    wanted: str | None,
    output: Path | None,
) -> None:
    """List the trials of SUITE with their ids, and which checkpoints, data and devices they will use.

    Nothing is fetched and nothing is trained. Data that is on this machine is read and checked.
    """
    target = target_of("plan", wanted, output, as_json=as_json)
    with failing_as_json("plan", "plan", target):
        write(plan_document(_plan(suite, overrides, assets)), target)


def _plan(path: Path, overrides: Sequence[str], assets: AssetsMode) -> Planned:
    suite = read_suite(path, overrides)
    devices = available_devices()
    trials = expand(suite, devices)
    checkpoints = dict.fromkeys((trial.checkpoint, trial.revision) for trial in trials)
    return Planned(
        suite=suite.name,
        task=suite.task.name,
        trials=trials,
        checkpoints=[
            (name, revision, peek_checkpoint(name, revision, assets)) for name, revision in checkpoints
        ],
        data=plan_data(suite.task, assets),
        devices=[(name, name in devices) for name in dict.fromkeys(trial.device for trial in trials)],
        torch=str(installed_torch()),
        warnings=_gate_warnings(suite, trials),
    )


def _gate_warnings(suite: Suite, trials: Sequence[Trial]) -> list[str]:
    if all(gate.max_drop is None for gate in suite.gates):
        return []
    # Most plans have no drop gate, and start in a fraction of the time without numpy.
    from harness.analysis.gates.planning import gate_warnings  # noqa: PLC0415

    return gate_warnings(suite.gates, trials)
