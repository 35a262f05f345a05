"""`harness plan`: the trials of a suite and what each will use, before anything is run or fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.analysis.sharing import trainings_saved
from harness.assets.find_checkpoint import peek_checkpoint
from harness.cli.options import field_option, harness_command, output_options, set_option, suite_argument
from harness.cli.writing import Target, write
from harness.data.checking import plan_data
from harness.machine.facts import available_devices, installed_torch
from harness.model.assets import AssetsMode
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.output.builders.plan import Planned, plan_document
from harness.suite.matrix import expand
from harness.suite.reading import read_suite
from harness.words import count


@harness_command("plan")
@suite_argument
@set_option
@field_option("assets")
@output_options("plan")
def command(suite: Path, overrides: tuple[str, ...], assets: AssetsMode, target: Target) -> None:
    """List the trials of SUITE with their ids, and which checkpoints, data and devices they will use.

    SUITE is a file, or a name: of a file NAME.yaml in the current folder, else of a shipped suite.

    Nothing is fetched and nothing is trained. Data that is on this machine is read and checked.
    """
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
        devices=[
            (name, name in devices)
            for name in dict.fromkeys(device for trial in trials for device in trial.devices)
        ],
        torch=str(installed_torch()),
        warnings=_gate_warnings(suite, trials),
        offers=_offers(suite, trials),
    )


def _offers(suite: Suite, trials: Sequence[Trial]) -> list[str]:
    saved, trainings = trainings_saved(trials), sum(trial.tokenization is None for trial in trials)
    if not saved:
        return []
    of_all = f"{saved} of {count(trainings, 'training')}"
    if suite.measure.quality == "once_per_function":
        return [f"measure.quality once_per_function saves {of_all} if every proof passes"]
    return [
        f"-s measure.separate=true -s measure.quality=once_per_function saves {of_all} "
        "if every proof passes: variants with the same batches share the scores of one training"
    ]


def _gate_warnings(suite: Suite, trials: Sequence[Trial]) -> list[str]:
    if all(gate.max_drop is None for gate in suite.gates):
        return []
    # Most plans have no drop gate, and start in a fraction of the time without numpy.
    from harness.analysis.gates.drops import gate_warnings  # noqa: PLC0415

    return gate_warnings(suite.gates, trials)
