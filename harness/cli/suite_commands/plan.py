"""`harness plan`: the trials of a suite and what each will use, before anything is run or fetched."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from harness.analysis.forecast.estimating import Estimate, estimate
from harness.analysis.forecast.likeness import EarlierRun, Setting
from harness.analysis.sharing import trainings_saved
from harness.assets.find_checkpoint import peek_checkpoint
from harness.assets.places import wanted_cache_root
from harness.cli.run_options import run_options
from harness.cli.shared_options import harness_command, option, output_options, set_option, suite_argument
from harness.cli.writing_results import Target, write
from harness.data.checking import plan_data
from harness.errors import InvalidInputError
from harness.machine.facts import (
    available_devices,
    describe_environment,
    describe_gpus,
    installed_torch,
    physical_cores,
)
from harness.model.suite import Suite
from harness.model.tasks import Task
from harness.model.trial import Trial
from harness.output.builders.planned_trials import Planned, plan_document
from harness.running.options import DEFAULT_RUNNER, RunOptions, jobs_at_once
from harness.running.preflight import Machine
from harness.running.proof_store import proof_store
from harness.running.resume import Here, choose
from harness.store.folders import is_there, names_in
from harness.store.listing import describe_run, earlier_runs
from harness.store.plan_file import make_plan
from harness.store.report_file import briefly
from harness.store.suite_runs import find_unfinished
from harness.suite.matrix import expand
from harness.suite.suite_file import read_suite
from harness.words import count


@harness_command("plan")
@suite_argument
@set_option
@run_options("assets", "reports", "executor", "ray_address", "slurm", "parity", "jobs")
@option(
    "--price",
    type=click.FloatRange(0),
    metavar="PER_HOUR",
    help="Price of the machine per hour, in any currency: also estimate the cost of the run.",
    group="Output",
)
@output_options("plan")
def command(
    suite: Path, overrides: tuple[str, ...], options: RunOptions, price: float | None, target: Target
) -> None:
    """List the trials of SUITE with their ids, which checkpoints, data and devices they use, and how long.

    SUITE is a file, or a name: of a file NAME.yaml in the current folder, else of a shipped suite.

    Nothing is fetched and nothing is trained. Data that is on this machine is read and checked. Time, memory
    and disk are estimated from earlier results of the checkpoints on this machine, found under --reports.
    With --executor the devices are those of the cluster, which is asked, and nothing is estimated.
    """
    if price is not None and not math.isfinite(price):
        raise InvalidInputError(f"--price is {price}", hint="Give the price of an hour: --price 2.1.")
    write(plan_document(_plan(suite, overrides, options, price)), target)


def _plan(path: Path, overrides: Sequence[str], options: RunOptions, price: float | None) -> Planned:
    suite = read_suite(path, overrides)
    machine, cluster = _machine(options)
    trials = expand(suite, machine.devices)
    checkpoints = dict.fromkeys((trial.checkpoint, trial.revision) for trial in trials)
    uses = {key: peek_checkpoint(*key, options.assets) for key in checkpoints}
    data = {task: plan_data(task, options.assets) for task in dict.fromkeys(trial.task for trial in trials)}
    unavailable = {
        trial.id
        for trial in trials
        if machine.missing(trial) is not None
        or _lacking(uses[trial.checkpoint, trial.revision])
        or _lacking(data[trial.task])
    }
    setting = _setting(
        suite,
        trials,
        options,
        {key: _stands_in(use) for key, use in uses.items()},
        {task: _stands_in(use) for task, use in data.items()},
    )
    estimated, problems = _estimated(suite, trials, options, setting, machine, unavailable)
    return Planned(
        suite=suite.name,
        trials=trials,
        checkpoints=[(name, revision, use) for (name, revision), use in uses.items()],
        data=[(task.name, use) for task, use in data.items()],
        devices=[
            (name, any(machine.missing(trial) is None for trial in trials if name in trial.devices))
            for name in dict.fromkeys(device for trial in trials for device in trial.devices)
        ],
        torch=str(machine.torch),
        cluster=cluster,
        warnings=_gate_warnings(suite, trials),
        estimate=estimated,
        offers=_offers(suite, trials),
        price=price,
        problems=problems,
    )


def _machine(options: RunOptions) -> tuple[Machine, list[str]]:
    """Return the machine that trials would run on, and the description of a cluster."""
    if options.executor == "local" and options.ray_address is None and not options.slurm:
        return Machine(available_devices(), installed_torch()), []
    # Most plans need none of this.
    from harness.running.seams import seams_of  # noqa: PLC0415

    notes: list[str] = []
    with seams_of(options, None, notes.append) as seams:
        machine = seams.machine()
    return machine, [*notes, *machine.nodes]


def _setting(
    suite: Suite,
    trials: Sequence[Trial],
    options: RunOptions,
    stand_ins: Mapping[tuple[str, str | None], bool | None],
    synthetic: Mapping[Task, bool | None],
) -> Setting:
    """Return the machine, assets and concurrency of the trials, without importing torch."""
    alone = jobs_at_once(options, separate=suite.measure.separate)
    on_cpu = all(trial.device == "cpu" for trial in trials)
    return Setting(
        environment=describe_environment(),
        threads=suite.measure.threads or max(1, physical_cores() // alone),
        gpus=describe_gpus(),
        stand_ins=stand_ins,
        synthetic=synthetic,
        jobs=physical_cores() if options.jobs == "auto" else options.jobs,
        trainings=max(1, physical_cores() // alone) if on_cpu else 1,
        separate=suite.measure.separate,
    )


def _estimated(
    suite: Suite,
    trials: Sequence[Trial],
    options: RunOptions,
    setting: Setting,
    machine: Machine,
    unavailable: Collection[str],
) -> tuple[Estimate, list[str]]:
    """Return the estimate, and why reports that it could come from are not read."""
    alone = machine.processors is None
    gpus = setting.gpus if alone else {}
    here = Here(setting.environment, setting.threads, gpus, setting.jobs, machine.processors)
    left = _left(suite, trials, options, here)
    # Estimates are of trials on one machine, one after another on each device.
    earlier, problems = _earlier(suite, trials, options.reports, left.run) if alone else ([], [])
    found = estimate(
        trials,
        earlier,
        setting,
        reused=left.reused,
        unavailable=set(unavailable) - left.reused,
        proved=left.proved | _stored_proofs() if options.parity else None,
    )
    return found, [left.problem, *problems] if left.problem else problems


def _stored_proofs() -> frozenset[str]:
    """Return the ids of proofs that a run would take over from earlier ones."""
    cache = wanted_cache_root()
    return proof_store(cache, DEFAULT_RUNNER).ids() if is_there(cache / "proofs") else frozenset()


def _lacking(use: str) -> bool:
    return use.startswith("unavailable")


def _stands_in(use: str) -> bool | None:
    """Return whether a described asset is an embedded one in place of a named one; None if that is open."""
    if use.startswith("download"):
        return None if ", or " in use else False
    # Further words may be those of the data.
    return use.startswith(("stand-in ", "embedded corpus"))


@dataclass(frozen=True, slots=True)
class _Left:
    """The finished part of an unfinished run of this plan: ids of trials and proofs, and its results.

    `problem` is the reason why it cannot be read.
    """

    reused: frozenset[str] = frozenset()
    proved: frozenset[str] = frozenset()
    run: EarlierRun | None = None
    problem: str = ""


def _left(suite: Suite, trials: Sequence[Trial], options: RunOptions, here: Here) -> _Left:
    """Return the finished part of the run that `harness run` would resume."""
    try:
        found = find_unfinished(options.reports, suite.name, make_plan(suite, trials, options.assets))
    except InvalidInputError as error:
        return _Left(problem=error.message)
    if found is None:
        return _Left()
    results, _ = found.results(briefly(trials))
    proofs = found.proofs(names_in(found.path / "proofs"))
    reused = choose(results, {}, here, rerun=None).results
    stored = describe_run(found.path)
    size = stored.size_bytes / max(1, len(results))
    run = EarlierRun(found.path.name, stored.started, tuple(results.values()), tuple(proofs.values()), size)
    return _Left(frozenset(reused), frozenset(proofs), run)


def _earlier(
    suite: Suite, trials: Sequence[Trial], reports: Path, unfinished: EarlierRun | None
) -> tuple[list[EarlierRun], list[str]]:
    """Return the newest runs of the suite and its checkpoints, and why reports among them are not read."""
    found = [] if unfinished is None else [unfinished]
    problems: list[str] = []
    for run in earlier_runs(reports, suite.name, {trial.checkpoint for trial in trials}):
        if run.problem:
            problems.append(run.problem)
        elif run.report is not None and (unfinished is None or run.path.name != unfinished.name):
            report = run.report
            proofs = (*report.proofs, *report.training_proofs)
            size = run.size_bytes / max(1, len(report.results))
            found.append(EarlierRun(run.path.name, run.started, report.results, proofs, size))
    return found, problems


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
