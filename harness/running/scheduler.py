"""Decide which trial runs when: in the plan's order, N at once on each device, and what follows a failure.

A trial on several devices waits in the queue of each, and starts where it is the first of all: those after it
wait, so that it is not passed over for ever.

After N equal errors of one axis value its remaining trials can be skipped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.analysis.naming import axes, telling_axes
from harness.errors import InvalidInputError
from harness.model.job import Job, Observer
from harness.model.results import TrialResult
from harness.model.trial import Trial
from harness.running.executor import Executor
from harness.running.options import RunOptions
from harness.running.workers.judging import Ended
from harness.store.report_file import Shape, as_it_is

POLL_SECONDS: Final = 0.1
_LONGEST_ATTEMPT_NOTE: Final = 200


def only_one(_device: str) -> int:
    """A machine has each of its devices once; a cluster may have many."""
    return 1


@dataclass(frozen=True, slots=True)
class Policy:
    """How many trials run at once on one device, and what follows when one does not complete.

    `retries` is how many more attempts are made for a trial that was killed, ran out of the host's memory,
    took too long or could not be started. `fail_fast` ends the run at the first trial that did not complete.
    `same_error` is after how many equal errors the rest of an axis' value is marked as failed, 0 for never.
    """

    retries: int = 0
    fail_fast: bool = False
    same_error: int = 0
    jobs: int = 1

    @classmethod
    def of(cls, options: RunOptions, jobs: int = 1) -> Policy:
        """Return the policy that the options ask for, with so many trials at once on a device."""
        return cls(options.retries, options.fail_fast, options.stop_after_same_error, jobs)


@dataclass(frozen=True, slots=True)
class RunContext:
    """The executor and the callbacks of one run.

    `folder_of` gives a trial's folder by its id. `keep` stores and returns the result of a trial that was not
    submitted. `interrupted` is true once no more may be started, `shape` reduces a result to the parts to
    keep, and `count` is the number of such devices, each for separate trials.
    """

    executor: Executor
    folder_of: Callable[[str], Path]
    keep: Callable[[TrialResult], TrialResult]
    observer: Observer
    interrupted: Callable[[], bool]
    grace_s: float
    shape: Shape = as_it_is
    count: Callable[[str], int] = only_one


def run_jobs(jobs: Sequence[Job], context: RunContext, policy: Policy) -> dict[str, TrialResult]:
    """Run the jobs, and return a result for each that was started, by trial id.

    What runs when this raises is stopped first; the executor itself is for its maker to stop.
    """
    (results,) = run_queue([(0, job) for job in jobs], [context], policy)
    return results


def run_queue(
    queue: Sequence[tuple[int, Job]], contexts: Sequence[RunContext], policy: Policy
) -> tuple[dict[str, TrialResult], ...]:
    """Run jobs of several contexts in one order, and return the results of each context as `run_jobs` does.

    Args:
        queue: the position of a context and a job for it; on each device they start in this order.
        contexts: each with its own executor and folders; two may have trials with the same id.
        policy: applies to all of them together.
    """
    schedule = _Schedule(queue, contexts, policy)
    try:
        schedule.run()
    except BaseException:
        # After an error or a second interrupt nothing is waited for.
        for context in contexts:
            context.executor.stop(0.0)
        raise
    return schedule.results


class _Schedule:
    """The queues of the devices and what has become of the trials so far.

    Trials are known by the position of their context and their id.
    """

    def __init__(
        self, queue: Sequence[tuple[int, Job]], contexts: Sequence[RunContext], policy: Policy
    ) -> None:
        self._contexts = contexts
        self._policy = policy
        self._queues: dict[str, deque[tuple[int, Job]]] = {}
        self._places: dict[str, int] = {}
        for entry in queue:
            at, job = entry
            for device in job.trial.devices:
                self._queues.setdefault(device, deque()).append(entry)
                if device not in self._places:
                    self._places[device] = policy.jobs * contexts[at].count(device)
        self._running: dict[tuple[int, str], Job] = {}
        self._errors = [
            SameError((job.trial for of, job in queue if of == at), policy.same_error)
            if policy.same_error
            else None
            for at in range(len(contexts))
        ]
        self._ending = False
        self.results: tuple[dict[str, TrialResult], ...] = tuple({} for _ in contexts)

    def run(self) -> None:
        """Run until everything has a result, or no more may be started."""
        while not self._must_stop():
            self._start_what_can()
            if not self._running:
                return
            self._poll()
        for at, context in enumerate(self._contexts):
            for result in context.executor.stop(context.grace_s):
                self._finish(at, result)

    def _must_stop(self) -> bool:
        return self._ending or any(context.interrupted() for context in self._contexts)

    def _start_what_can(self) -> None:
        for device in self._queues:
            while (following := self._next(device)) is not None:
                self._start(*following)

    def _start(self, at: int, job: Job) -> None:
        context = self._contexts[at]
        try:
            folder = context.folder_of(job.trial.id)
        except InvalidInputError as error:
            # Something else has taken its folder's place: the other trials have theirs.
            self._finish(at, not_run(job.trial, str(error)).model_copy(update={"status": "failed"}))
            return
        for device in job.trial.devices:
            self._places[device] -= 1
        self._running[at, job.trial.id] = job
        context.observer.started(job.trial)
        context.executor.submit(job, folder)

    def _next(self, device: str) -> tuple[int, Job] | None:
        """The next job of a device that can start now, with its context; skipped ones get their rows here."""
        while (queue := self._queues[device]) and self._can_start(queue[0]):
            at, job = queue[0]
            for each in job.trial.devices:
                self._queues[each].popleft()
            errors = self._errors[at]
            reason = errors.skip_reason(job.trial) if errors is not None else None
            if reason is None:
                return at, job
            skipped = not_run(job.trial, reason).model_copy(update={"status": "failed"})
            self._finish(at, self._contexts[at].keep(skipped))
        return None

    def _can_start(self, entry: tuple[int, Job]) -> bool:
        """Return whether every device of a job has a place, and no earlier job that waits for one."""
        devices = entry[1].trial.devices
        return all(self._places[each] and self._queues[each][0] is entry for each in devices)

    def _poll(self) -> None:
        busy = sorted({at for at, _ in self._running})
        for at in busy:
            for event in self._contexts[at].executor.poll(POLL_SECONDS / len(busy)):
                if isinstance(event, Ended):
                    self._ended(at, event)
                else:
                    self._contexts[at].observer.progressed(event.trial, event.progress)

    def _ended(self, at: int, ended: Ended) -> None:
        trial = ended.result.trial
        job = self._running.pop((at, trial.id))
        for device in trial.devices:
            self._places[device] += 1
        if ended.may_retry and len(job.failures) < self._policy.retries and not self._must_stop():
            failure = _describe_attempt(len(job.failures) + 1, ended.result)
            self._contexts[at].observer.note(f"{failure}; trying again")
            again = job.model_copy(update={"failures": (*job.failures, failure)})
            entry = (at, again)
            for device in trial.devices:
                self._queues[device].appendleft(entry)
            return
        self._finish(at, ended.result)

    def _finish(self, at: int, result: TrialResult) -> None:
        context, errors = self._contexts[at], self._errors[at]
        self.results[at][result.trial.id] = context.shape(result)
        if errors is not None:
            errors.add(result)
        context.observer.finished(result)
        if self._policy.fail_fast and result.status != "completed":
            self._ending = True


def _describe_attempt(number: int, result: TrialResult) -> str:
    reason = (result.reason or "")[:_LONGEST_ATTEMPT_NOTE]
    return f"attempt {number} of trial {result.trial.id}: {result.status} in {result.phase}: {reason}"


def not_run(trial: Trial, reason: str) -> TrialResult:
    """The row of a trial that was not started."""
    return TrialResult(
        trial=trial, status="pending", phase="start", reason=reason, started=datetime.now(UTC), duration_s=0.0
    )


_COMPARED_CHARACTERS = 120


@dataclass(slots=True)
class _Seen:
    """The ended trials with one value of an axis: the error of all of them, or None, and their number."""

    error: str | None
    count: int = 0


@dataclass(slots=True)
class SameError:
    """Counts errors by axis value, for the axes that have several values in the plan.

    The other trials with a value are skipped once `limit` trials with it have ended, all with the same error.
    """

    trials: Iterable[Trial]
    limit: int
    _values: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    _seen: dict[tuple[str, str], _Seen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        variants = {trial.variant_id: axes(trial) for trial in self.trials}
        varying = telling_axes(variants.values())
        self._values = {
            variant: tuple((name, values[name]) for name in varying) for variant, values in variants.items()
        }

    def add(self, result: TrialResult) -> None:
        """Count a trial that has ended."""
        error = _error(result)
        for value in self._values.get(result.trial.variant_id, ()):
            seen = self._seen.setdefault(value, _Seen(error))
            seen.error = error if seen.error == error else None
            seen.count += 1

    def skip_reason(self, trial: Trial) -> str | None:
        """Return the reason to skip a trial, or None."""
        for axis, value in self._values.get(trial.variant_id, ()):
            seen = self._seen.get((axis, value))
            if seen is not None and seen.error is not None and seen.count >= self.limit:
                return f"not run: all {seen.count} trials with {axis} {value} ended with {seen.error}"
        return None


def _error(result: TrialResult) -> str | None:
    if result.status == "completed":
        return None
    return f"{result.status} in {result.phase}: {(result.reason or '')[:_COMPARED_CHARACTERS]}"
