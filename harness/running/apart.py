"""Measure the speed and the quality of trials apart: windows one at a time, then several trainings at once.

A window is a short measurement of a trial's steps in a process of its own. The plan's order interleaves the
variants, every second seed in reverse, so windows follow each other as A B, then B A.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from harness.analysis.naming import describe
from harness.model.job import Job, Observer
from harness.model.results import TrialResult
from harness.model.trial import Trial
from harness.running.scheduler import Policy, RunContext, run_jobs
from harness.words import count

Jobs = int | Literal["auto"]
"""Trainings at once on a device; `auto` for as many as cores and memory allow."""

# What other programs may need, and what peaks of windows leave out: evaluation, fragmentation.
_SHARE_OF_HOST: Final = 0.8
_SHARE_OF_DEVICE: Final = 0.9
# A CUDA context, outside of torch's allocator.
_CONTEXT_BYTES: Final = 0.6 * 2**30
_OPEN: Final = ("interrupted", "pending")


def has_window(trial: Trial) -> bool:
    """Return whether a window of a trial's steps is as fast as its training.

    Compiled and captured passes depend on the shapes of the whole plan, and ranks share one window on several
    devices that no test covers: those trials are timed as a whole.
    """
    return (
        trial.tokenization is None
        and trial.compile.mode == "off"
        and not trial.cuda_graphs
        and trial.world_size == 1
    )


def window_jobs(jobs: Iterable[Job]) -> dict[str, Job]:
    """Return the job of a window for each trial that has one, by trial id."""
    return {job.trial.id: job.model_copy(update={"purpose": "time"}) for job in jobs if has_window(job.trial)}


@dataclass(frozen=True, slots=True)
class WindowWatch(Observer):
    """Gives an observer each window as a note: the trials that it counts are those that train."""

    observer: Observer

    def note(self, text: str) -> None:
        """Pass the note on."""
        self.observer.note(text)

    def finished(self, result: TrialResult) -> None:
        """Note the speed of a window, or why there is none."""
        rate = result.value("train_real_tokens_per_second")
        found = f"{result.status} in {result.phase}" if rate is None else f"{rate:,.0f} real tokens/s"
        self.observer.note(f"window of {describe(result.trial)}, seed {result.trial.seed}: {found}")


@dataclass(frozen=True, slots=True)
class Machine:
    """What trainings share: `cores`, and `free_memory`, which returns the bytes of the host that are free."""

    cores: int
    free_memory: Callable[[], float]


def run_apart(
    jobs: Sequence[Job],
    windows: Mapping[str, TrialResult],
    contexts: tuple[RunContext, RunContext],
    policy: Policy,
    at_once: Jobs,
    machine: Machine,
) -> dict[str, TrialResult]:
    """Run jobs whose speed and quality are measured apart, and return a result for each that ended.

    Args:
        jobs: of trials without a result, in the plan's order; each would run alone with all cores.
        windows: results of windows that are still valid, by trial id.
        contexts: of the windows, and of the trials.
        policy: for trials that run alone.
        at_once: trainings at once on a device.
        machine: what they share.
    """
    of_windows, context = contexts
    wanted = window_jobs(jobs)
    rest = [job for id_, job in wanted.items() if id_ not in windows]
    if rest:
        context.observer.note(f"timing windows of {count(len(rest), 'trial')}, one at a time")
    timed = {id_: windows[id_] for id_ in wanted if id_ in windows} | run_jobs(rest, of_windows, policy)
    results = dict(_without_window(timed.values(), context))
    if _ends(results, context, policy):
        return results
    results |= run_jobs([job for job in jobs if job.trial.id not in wanted], context, policy)
    timed = {id_: result for id_, result in timed.items() if result.status == "completed"}
    if not timed or _ends(results, context, policy):
        return results
    devices = len({result.trial.device for result in timed.values()})
    fitting = jobs_that_fit(timed.values(), devices, machine) if at_once == "auto" else at_once
    threads = max(1, machine.cores // (fitting * devices))
    context.observer.note(
        f"training {count(len(timed), 'trial')}, {fitting} at once on a device, "
        f"{count(threads, 'thread')} each: their times do not count"
    )
    trainings = [
        _concurrent(job, timed[job.trial.id], fitting, threads) for job in jobs if job.trial.id in timed
    ]
    return results | run_jobs(trainings, context, replace(policy, jobs=fitting))


def jobs_that_fit(windows: Iterable[TrialResult], devices: int, machine: Machine) -> int:
    """Return how many trainings fit on each of `devices` at once, by the peaks of memory of their windows."""
    found = tuple(windows)
    limits = [machine.cores // devices]
    if host := _largest(found, "peak_memory_host_bytes"):
        limits.append(int(_SHARE_OF_HOST * machine.free_memory() / host) // devices)
    for result in found:
        device = result.environment and result.environment.device
        peak = _largest([result], "peak_memory_reserved_bytes")
        if device and device.memory_bytes and peak:
            limits.append(int(_SHARE_OF_DEVICE * device.memory_bytes / (peak + _CONTEXT_BYTES)))
    return max(1, min(limits))


def _largest(results: Iterable[TrialResult], metric: str) -> float:
    return max((result.value(metric) or 0.0 for result in results), default=0.0)


def _without_window(windows: Iterable[TrialResult], context: RunContext) -> Iterator[tuple[str, TrialResult]]:
    """Store and yield the results of trials whose windows failed, as their trainings would."""
    for window in windows:
        if window.status != "completed" and window.status not in _OPEN:
            context.observer.started(window.trial)
            kept = context.keep(window)
            context.observer.finished(kept)
            yield window.trial.id, context.shape(kept)


def _ends(results: Mapping[str, TrialResult], context: RunContext, policy: Policy) -> bool:
    failed = any(result.status != "completed" for result in results.values())
    return context.interrupted() or (policy.fail_fast and failed)


def _concurrent(job: Job, timed: TrialResult, at_once: int, threads: int) -> Job:
    changes = {"threads": job.measure.threads or threads}
    return job.model_copy(
        update={
            "timed": timed,
            "concurrent": at_once,
            "measure": job.measure.model_copy(update=changes),
        }
    )
