"""Decide which finished results a resumed run reuses, and name the field that forbids it.

`open_directory` opens and locks the run directory to work in: the unfinished run of the same plan, or a new
one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.analysis.sharing import trained_by
from harness.assets.places import Note
from harness.errors import LockedError
from harness.machine.facts import COMPUTING, describe_environment, describe_gpus
from harness.model.assets import Checkpoint, Data, ResolvedCheckpoint, ResolvedData
from harness.model.environment import Device, Environment
from harness.model.job import Job
from harness.model.results import TrialResult
from harness.model.status import STATUSES
from harness.model.suite import Measure
from harness.running.options import Rerun
from harness.store.plan_file import Plan
from harness.store.report_file import briefly
from harness.store.run_directory import RunDirectory
from harness.store.saved_models import saved_model
from harness.store.suite_runs import create_run, find_latest, find_unfinished, hold_suite
from harness.store.trial_folder import write_result

_LISTED: Final = 12


@dataclass(frozen=True, slots=True)
class Here:
    """What a result must have been got with: this machine's environment, the threads of a trial, the GPUs.

    `gpus` are the CUDA devices by the name a suite gives them, `jobs` the trials at once on a device.
    `processors` are those of a cluster, on any of which a trial may run, empty where they are unknown; None
    for this machine's alone.
    """

    environment: Environment
    threads: int
    gpus: Mapping[str, Device] = field(default_factory=dict)
    jobs: int = 1
    processors: tuple[str, ...] | None = None


def describe_here(threads: int, jobs: int = 1, processors: tuple[str, ...] | None = None) -> Here:
    """This machine, or a cluster of these processors, as far as known without importing torch."""
    # The GPUs of this machine are not those of a cluster.
    gpus = describe_gpus() if processors is None else {}
    return Here(describe_environment(), threads, gpus, jobs, processors)


@dataclass(frozen=True, slots=True)
class Reuse:
    """The results taken over, by trial id, and a sentence for each kind of reason why others are not."""

    results: dict[str, TrialResult]
    notes: tuple[str, ...]


def choose(
    found: Mapping[str, TrialResult], jobs: Mapping[str, Job], here: Here, rerun: Rerun | None
) -> Reuse:
    """Choose the results to reuse.

    A result whose trial cannot run here at the moment is taken over as it is, if its environment matches.

    Args:
        found: finished results by trial id.
        jobs: what would run, by trial id.
        here: this machine.
        rerun: run the failed again, or all.
    """
    kept: dict[str, TrialResult] = {}
    differing: dict[str, list[str]] = {}
    for trial_id, result in found.items():
        again = rerun == "all" or (rerun == "failed" and result.status != "completed")
        if again or STATUSES[result.status].rerun:
            continue
        difference = next(_differences(result, jobs.get(trial_id), here), None)
        if difference is None:
            kept[trial_id] = result
        else:
            differing.setdefault(difference, []).append(trial_id)
    return Reuse(kept, tuple(_describe(difference, ids) for difference, ids in differing.items()))


def without_models(results: Mapping[str, TrialResult], jobs: Mapping[str, Job]) -> list[str]:
    """Return the completed trainings whose jobs ask for the model, and of which none was saved."""
    folders = {id_: job.save_to for id_, job in jobs.items() if job.save_to is not None}
    return [
        id_
        for id_, result in results.items()
        if id_ in folders
        and result.status == "completed"
        and result.trial.tokenization is None
        and trained_by(result) == id_
        and saved_model(Path(folders[id_]), result) is None
    ]


def _differences(result: TrialResult, job: Job | None, here: Here) -> Iterator[str]:
    """What a result was got with that is not so now, each as `field was X, is Y`."""
    then = result.environment
    if then is None:
        yield "its environment is not known"
        return
    now = here.environment
    yield from _changed("python", then.python, now.python)
    for name in sorted(then.packages.keys() | now.packages.keys()):
        yield from _changed(name, then.packages.get(name), now.packages.get(name))
    # Nodes of a cluster may set more of them.
    for name in COMPUTING if here.processors is None else ():
        yield from _changed(name, then.variables.get(name), now.variables.get(name))
    processors = (now.cpu.model,) if here.processors is None else here.processors
    if processors and then.cpu.model not in processors:
        yield from _changed("processor", then.cpu.model, " or ".join(processors))
    yield from _changed("trials at once", result.concurrent, here.jobs)
    yield from _changed("threads", then.threads, here.threads)
    yield from _device_changes(then.device, here.gpus.get(result.trial.device))
    if job is None:
        return
    if result.checkpoint is not None:
        yield from _checkpoint_changes(result.checkpoint, job.checkpoint)
        if refused := [name for name in result.checkpoint.allowed_weights if not job.allows_weight(name)]:
            yield f"allow_weights does not name {refused[0]} any more"
    if result.data is not None:
        yield from _data_changes(result.data, job.data)


def _device_changes(then: Device | None, now: Device | None) -> Iterator[str]:
    if then is None or now is None:
        return
    yield from _changed("device", then.name, now.name)
    if then.driver is not None and now.driver is not None:
        yield from _changed("driver", then.driver, now.driver)


def _checkpoint_changes(then: Checkpoint, now: ResolvedCheckpoint) -> Iterator[str]:
    yield from _changed("checkpoint", then.name, now.name)
    yield from _changed("checkpoint source", _place(then.source), _place(now.source))
    yield from _changed("checkpoint revision", then.revision, now.revision)
    if now.digests is None:
        return
    yield from _changed("checkpoint weights", then.weights_sha256, now.digests.weights)
    if then.config_sha256 is not None:
        yield from _changed("checkpoint config", then.config_sha256, now.digests.config)
        yield from _changed("checkpoint tokenizer", then.tokenizer_sha256, now.digests.tokenizer)
    elif now.source == "local":
        # A commit or pinned digests cover every file of the other sources; a folder may contain anything.
        yield "the config and the tokenizer of its checkpoint were not recorded"


def _data_changes(then: Data, now: ResolvedData) -> Iterator[str]:
    yield from _changed("data", then.name, now.name)
    yield from _changed("data source", _place(then.source), _place(now.source))
    yield from _changed("data revision", then.revision, now.revision)
    if now.files_sha256 is None:
        return
    if then.files_sha256 is not None:
        yield from _changed("data files", then.files_sha256, now.files_sha256)
    elif now.source == "folder":
        yield "the files of its data set were not recorded"


def _changed(name: str, then: object, now: object) -> Iterator[str]:
    if then != now:
        yield f"{name} was {then}, is {now}"


def _place(source: str) -> str:
    # The Hub and its cache have the same commit.
    return source.removesuffix(" cache")


def _describe(difference: str, trial_ids: Collection[str]) -> str:
    count = len(trial_ids)
    return f"{count} finished trial{'s' if count > 1 else ''} will run again: {difference}"


def take_over_edited(old: RunDirectory, new: RunDirectory, jobs: Mapping[str, Job], here: Here) -> Reuse:
    """Take the results of an unfinished run of an edited suite into a new run, and note their number.

    Results are taken only if both runs measure their trials in the same way.
    """
    found, problems = old.results(briefly(new.plan.trials))
    here_too = {trial_id: result for trial_id, result in found.items() if trial_id in jobs}
    if _how(old.plan.measure) != _how(new.plan.measure):
        here_too = {}
    reuse = choose(here_too, jobs, here, rerun=None)
    for trial_id in reuse.results:
        write_result(new.trial_folder(trial_id), old.stored(trial_id))
    before, now = set(old.plan.trial_ids), set(new.plan.trial_ids)
    kinds = {"new": now - before, "reused": reuse.results.keys(), "gone": before - now}
    counts = ", ".join(f"{len(ids)} {kind}" for kind, ids in kinds.items())
    return Reuse(
        reuse.results,
        (
            *(f"not counted as done: {problem}" for problem in problems),
            *reuse.notes,
            f"the suite was edited since {old.path.name}: {counts}",
            *(f"{kind}: {_listed(ids)}" for kind, ids in kinds.items() if ids),
        ),
    )


def _how(measure: Measure) -> tuple[object, ...]:
    """Return the settings that change which steps are timed, and in which training."""
    return measure.warmup_steps, measure.separate, measure.quality


def _listed(trial_ids: Collection[str]) -> str:
    beyond = len(trial_ids) - _LISTED
    return ", ".join(sorted(trial_ids)[:_LISTED]) + (f" and {beyond} more" if beyond > 0 else "")


@dataclass(frozen=True, slots=True)
class Opened:
    """A run directory that this process has locked.

    `found` are its finished results in brief, by trial id; `problems` are sentences about files that do not
    count because they are damaged. `edited` is an unfinished run of another plan of the same suite, whose
    results may be taken over into this new one.
    """

    directory: RunDirectory
    resumed: bool
    found: dict[str, TrialResult]
    problems: tuple[str, ...]
    edited: RunDirectory | None = None


@contextmanager
def open_directory(
    reports: Path, plan: Plan, suite_text: bytes, *, fresh: bool, rerun: Rerun | None, wait: bool
) -> Iterator[Opened]:
    """Lock the run directory for this plan.

    Raises:
        LockedError: another process works in it and `wait` is false.
        InvalidInputError: the folder for the reports, or an unfinished run in it, cannot be used.
        StorageError: the operating system refused a step.
    """
    with ExitStack() as held:
        opened = None
        while opened is None:
            problems: list[str] = []
            with hold_suite(reports, plan.suite):
                # Of several simultaneous starts one creates the directory; the others find it and its lock.
                run = None if fresh else _to_continue(reports, plan, rerun, problems.append)
                if run is None:
                    edited = None if fresh else _edited(reports, plan, problems.append)
                    run = create_run(reports, plan.suite, plan, suite_text, now=datetime.now(UTC))
                    held.enter_context(run.hold())
                    opened = Opened(run, False, {}, tuple(problems), edited)
                elif _hold(run, held, wait=wait):
                    opened = _opened(run, problems)
            if opened is None and run is not None:
                # Not under the suite's lock, which every start needs. Then check again: the run may
                # be finished, or taken by another process that waited too.
                with run.hold(wait=True):
                    pass
        yield opened


def _hold(run: RunDirectory, held: ExitStack, *, wait: bool) -> bool:
    """Lock the run; return False if another process has locked it and the caller waits."""
    try:
        held.enter_context(run.hold())
    except LockedError:
        if not wait:
            raise
        return False
    return True


def _opened(run: RunDirectory, before: Sequence[str]) -> Opened:
    run.sweep()
    found, problems = run.results(briefly(run.plan.trials))
    return Opened(run, True, found, (*before, *problems))


def _to_continue(reports: Path, plan: Plan, rerun: Rerun | None, note: Note) -> RunDirectory | None:
    unfinished = find_unfinished(reports, plan.suite, plan, note=note)
    if unfinished is not None or rerun is None:
        return unfinished
    # Asked to run parts again, also of a run that is finished.
    latest = find_latest(reports, plan.suite)
    return latest if latest is not None and latest.plan.digest == plan.digest else None


def _edited(reports: Path, plan: Plan, note: Note) -> RunDirectory | None:
    """The newest run, if it is of another plan and was left unfinished."""
    latest = find_latest(reports, plan.suite, note=note)
    # Another shard of the same plan is no earlier version of the suite.
    if latest is None or latest.plan.whole.digest == plan.whole.digest:
        return None
    found, _ = latest.results(briefly(latest.plan.trials))
    return None if found.keys() >= set(latest.plan.trial_ids) else latest
