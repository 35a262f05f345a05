"""Measure the speed and the quality of trials apart: windows one at a time, then several trainings at once.

A window is a short measurement of a trial's steps in a process of its own. The plan's order interleaves the
variants, every second seed in reverse, so windows follow each other as A B, then B A.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from harness.analysis.naming import describe
from harness.analysis.sharing import has_window, is_proved, quality_of, trained_by
from harness.model.job import Job, Observer, shared
from harness.model.results import TrialResult
from harness.running.proving import Proofs
from harness.running.scheduler import Policy, RunContext, run_jobs
from harness.words import count

Jobs = int | Literal["auto"]
"""Trainings at once on a device; `auto` for as many as cores and memory allow."""

# What other programs may need, and what peaks of windows leave out: evaluation, fragmentation.
_SHARE_OF_HOST: Final = 0.8
_SHARE_OF_DEVICE: Final = 0.9
# A CUDA context, outside of torch's allocator.
_CONTEXT_BYTES: Final = 0.6 * 2**30
_MOST_NAMED: Final = 6
_OPEN: Final = ("interrupted", "pending")


def unsaved_note(results: Iterable[TrialResult]) -> str | None:
    """Return a sentence on the trials that share another one's training and have no model of their own."""
    sources = {result.trial.id: trained_by(result) for result in results}
    others = sorted(f"{id_} has that of {source}" for id_, source in sources.items() if source != id_)
    if not others:
        return None
    more = f"; and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    return (
        f"{count(len(others), 'trial')} trained no model to save: {'; '.join(others[:_MOST_NAMED])}{more}; "
        "without measure.quality=once_per_function each trains its own"
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
class Capacity:
    """What trainings at once share: `cores`, and `free_memory`, which returns the free bytes of the host.

    `jobs` is their number on a device where the user has given it.
    """

    cores: int
    free_memory: Callable[[], float]
    jobs: Jobs = "auto"


def run_apart(
    jobs: Sequence[Job],
    windows: Mapping[str, TrialResult],
    contexts: tuple[RunContext, RunContext],
    policy: Policy,
    capacity: Capacity,
    sharing: Sharing | None = None,
) -> dict[str, TrialResult]:
    """Run jobs whose speed and quality are measured apart, and return a result for each that ended.

    Args:
        jobs: of trials without a result, in the plan's order; each would run alone with all cores.
        windows: results of windows that are still valid, by trial id.
        contexts: of the windows, and of the trials.
        policy: for trials that run alone.
        capacity: what trainings at once share.
        sharing: what is known of the functions of trials, if those with the same one train once.
    """
    of_windows, context = contexts
    wanted = window_jobs(jobs)
    rest = [job for id_, job in wanted.items() if id_ not in windows]
    if rest:
        context.observer.note(f"timing windows of {count(len(rest), 'trial')}, one at a time")
    timed = {id_: windows[id_] for id_ in wanted if id_ in windows} | run_jobs(rest, of_windows, policy)
    results = dict(_without_window(timed.values(), context))
    if not _ends(results, context, policy):
        results |= run_jobs([job for job in jobs if job.trial.id not in wanted], context, policy)
    timed = {id_: result for id_, result in timed.items() if result.status == "completed"}
    if not timed or _ends(results, context, policy):
        return results
    devices = len({result.trial.device for result in timed.values()})
    at_once = jobs_that_fit(timed.values(), devices, capacity)
    threads = max(1, capacity.cores // (at_once * devices))
    trainings = [
        _concurrent(job, timed[id_], at_once, threads) for id_, job in wanted.items() if id_ in timed
    ]
    policy = replace(policy, jobs=at_once)
    if sharing is None:
        return results | _train(trainings, context, policy)
    return results | _train_once(trainings, context, policy, sharing)


def _train(trainings: Sequence[Job], context: RunContext, policy: Policy) -> dict[str, TrialResult]:
    if trainings:
        threads = trainings[0].measure.threads or 1
        context.observer.note(
            f"training {count(len(trainings), 'trial')}, {policy.jobs} at once on a device, "
            f"{count(threads, 'thread')} each: their times do not count"
        )
    return run_jobs(trainings, context, policy)


def _train_once(
    trainings: Sequence[Job], context: RunContext, policy: Policy, sharing: Sharing
) -> dict[str, TrialResult]:
    """Train the trials that share no training of another one, then give its scores to those that do."""
    timed = {job.trial.id: job.timed for job in trainings if job.timed is not None}
    sources = sharing.sources(timed.values())
    results = _train([job for job in trainings if job.trial.id not in sources], context, policy)
    for id_, source in sources.items():
        if sharing.has(source, results):
            results[id_] = _share(sharing.stored(source), timed[id_], context)
    if _ends(results, context, policy):
        return results
    # The training that these would share did not complete.
    left = [job for job in trainings if job.trial.id not in results]
    return results | _train(left, context, policy)


@dataclass(frozen=True, slots=True)
class Sharing:
    """What decides which trials share a training.

    `proofs` are those of the run, `done` the results that it has already, `stored` returns a completed result
    in full by the id of its trial.
    """

    proofs: Proofs
    done: Mapping[str, TrialResult]
    stored: Callable[[str], TrialResult]

    def sources(self, timed: Iterable[TrialResult]) -> dict[str, str]:
        """Return for each window whose trial need not train the id of the trial whose training it shares.

        Of a group without a training the trial that computes the fewest tokens trains: it is likely to be the
        fastest, and the choice does not depend on times.
        """
        own = {id_: result for id_, result in self.done.items() if self._can_give(result)}
        trained = {quality_of(result.trial).id: id_ for id_, result in reversed(own.items())}
        groups: dict[str, list[TrialResult]] = {}
        for window in filter(self._is_proved, timed):
            groups.setdefault(quality_of(window.trial).id, []).append(window)
        found: dict[str, str] = {}
        for key, windows in groups.items():
            least = max(windows, key=lambda window: window.value("padding_efficiency") or 0.0)
            source = trained.get(key, least.trial.id)
            found |= {each.trial.id: source for each in windows if each.trial.id != source}
        return found

    def has(self, trial_id: str, results: Mapping[str, TrialResult]) -> bool:
        """Return whether the training of a trial completed, before or just now."""
        result = results.get(trial_id) or self.done.get(trial_id)
        return result is not None and result.status == "completed"

    def _can_give(self, result: TrialResult) -> bool:
        own = result.apart is not None and result.apart.trained is None
        return result.status == "completed" and own and self._is_proved(result)

    def _is_proved(self, result: TrialResult) -> bool:
        return is_proved(result, self.proofs.functions, self.proofs.trainings)


def shared_without_proof(results: Mapping[str, TrialResult], proofs: Proofs) -> list[str]:
    """Return the trials with the scores of another one's training that the proofs of the run do not cover.

    A resumed run makes the proofs again where the code changed, and none with `--no-parity`.
    """
    shared = {id_: source for id_, result in results.items() if (source := trained_by(result)) != id_}
    unproved = {
        id_
        for id_ in {*shared, *shared.values()}
        if not is_proved(results[id_], proofs.functions, proofs.trainings)
    }
    return [id_ for id_, source in shared.items() if unproved & {id_, source}]


def _share(source: TrialResult, timed: TrialResult, context: RunContext) -> TrialResult:
    """Store and return the result of a trial that shares the training of another one."""
    context.observer.started(timed.trial)
    result = context.keep(shared(source, timed))
    context.observer.finished(result)
    return context.shape(result)


def jobs_that_fit(windows: Iterable[TrialResult], devices: int, capacity: Capacity) -> int:
    """Return how many trainings run at once on each of `devices`, by the peaks of memory of their windows."""
    if capacity.jobs != "auto":
        return capacity.jobs
    found = tuple(windows)
    limits = [capacity.cores // devices]
    if host := _largest(found, "peak_memory_host_bytes"):
        limits.append(int(_SHARE_OF_HOST * capacity.free_memory() / host) // devices)
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
            "purpose": "train",
            "timed": timed,
            "concurrent": at_once,
            "measure": job.measure.model_copy(update=changes),
        }
    )
