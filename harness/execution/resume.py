"""Which finished results may stand in a run that goes on, and which field says that one may not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from harness.environment import Environment
from harness.job import Job
from harness.results.models import Status, TrialResult
from harness.results.run_directory import RunDirectory
from harness.results.trial_folder import write_result

Rerun = Literal["failed", "all"]

# A worker that was killed says nothing about its trial: it runs again by itself.
_RUNS_AGAIN: Final[frozenset[Status]] = frozenset({"killed", "interrupted", "pending"})


@dataclass(frozen=True, slots=True)
class Here:
    """What a result must have been got with: this machine's environment and the threads of a trial."""

    environment: Environment
    threads: int


@dataclass(frozen=True, slots=True)
class Reuse:
    """The results taken over, by trial id, and a sentence for each kind of reason why others are not."""

    results: dict[str, TrialResult]
    notes: tuple[str, ...]


def choose(
    found: Mapping[str, TrialResult], jobs: Mapping[str, Job], here: Here, rerun: Rerun | None
) -> Reuse:
    """Choose what is taken over.

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
        if result.status in _RUNS_AGAIN or rerun == "all" or (rerun and result.status != "completed"):
            continue
        difference = next(_differences(result, jobs.get(trial_id), here), None)
        if difference is None:
            kept[trial_id] = result
        else:
            differing.setdefault(difference, []).append(trial_id)
    return Reuse(kept, tuple(_describe(field, ids) for field, ids in differing.items()))


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
    yield from _changed("processor", then.cpu.model, now.cpu.model)
    yield from _changed("threads", then.threads, here.threads)
    if job is None:
        return
    if result.checkpoint is not None:
        used, found = result.checkpoint, job.checkpoint
        yield from _changed("checkpoint", used.name, found.name)
        yield from _changed("checkpoint source", _place(used.source), _place(found.source))
        yield from _changed("checkpoint revision", used.revision, found.revision)
    if result.data is not None:
        yield from _changed("data", result.data.name, job.data.name)
        yield from _changed("data source", _place(result.data.source), _place(job.data.source))
        yield from _changed("data revision", result.data.revision, job.data.revision)


def _changed(field: str, then: object, now: object) -> Iterator[str]:
    if then != now:
        yield f"{field} was {then}, is {now}"


def _place(source: str) -> str:
    # The Hub and its cache hold the same commit.
    return source.removesuffix(" cache")


def _describe(difference: str, trial_ids: Collection[str]) -> str:
    count = len(trial_ids)
    return f"{count} finished trial{'s' if count > 1 else ''} will run again: {difference}"


def take_over_edited(old: RunDirectory, new: RunDirectory, jobs: Mapping[str, Job], here: Here) -> Reuse:
    """Take the results of an unfinished run of an edited suite into a new run, and say how many.

    Results are taken only if both runs leave the same number of warm-up steps out of their times.
    """
    found, _ = old.results()
    here_too = {trial_id: result for trial_id, result in found.items() if trial_id in jobs}
    if old.plan.measure.warmup_steps != new.plan.measure.warmup_steps:
        here_too = {}
    reuse = choose(here_too, jobs, here, rerun=None)
    for trial_id, result in reuse.results.items():
        write_result(new.trial_folder(trial_id), result)
    before, now = set(old.plan.trial_ids), set(new.plan.trial_ids)
    counts = f"{len(now - before)} new, {len(reuse.results)} reused, {len(before - now)} gone"
    return Reuse(reuse.results, (*reuse.notes, f"the suite was edited since {old.path.name}: {counts}"))
