"""Order, devices, retries and ends, with an executor that runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import StorageError
from harness.model.arguments import Train
from harness.model.assets import ResolvedCheckpoint, ResolvedData
from harness.model.job import Job
from harness.model.results import TrialResult
from harness.model.seeds import number_of
from harness.model.status import StatusName
from harness.model.suite import Measure
from harness.model.trial import Trial
from harness.model.values import Tokenization
from harness.running.executor import Event
from harness.running.scheduler import Policy, RunContext, SameError, run_jobs, run_queue
from harness.running.workers.judging import Ended
from tests.factories import make_result, make_trial
from tests.running.fakes import Watcher


def job_of(trial: Trial) -> Job:
    return Job(
        trial=trial,
        measure=Measure(),
        checkpoint=ResolvedCheckpoint(requested="x", name="x", source="embedded", path="/x"),
        data=ResolvedData(requested="x", name="x", source="embedded", layout="parquet", files={}),
        cache_dir="/x",
    )


class Instant:
    """Ends every job at the next poll, with the status that `fate` has for its seed and attempt."""

    def __init__(self, fate: dict[int, list[StatusName]] | None = None, jobs: int = 1) -> None:
        self.fate = fate or {}
        self.jobs = jobs
        self.order: list[Trial] = []
        self.at_once = 0
        self.stopped = False
        self._running: list[Job] = []

    def submit(self, job: Job, folder: Path) -> None:
        claimed = [device for other in self._running for device in other.trial.devices]
        assert all(claimed.count(device) < self.jobs for device in job.trial.devices)
        self.order.append(job.trial)
        self._running.append(job)
        self.at_once = max(self.at_once, len(self._running))

    def poll(self, timeout_s: float) -> Sequence[Event]:
        ended = [self._end(job) for job in self._running]
        self._running = []
        return ended

    def stop(self, grace_s: float) -> Sequence[TrialResult]:
        self.stopped = True
        left, self._running = self._running, []
        return [make_result(job.trial, status="interrupted") for job in left]

    def _end(self, job: Job) -> Ended:
        fates = self.fate.get(number_of(job.trial.seed, "init"), [])
        status: StatusName = fates.pop(0) if fates else "completed"
        result = job.completed_by(make_result(job.trial, status=status, examples=1))
        return Ended(result, may_retry=status == "killed")


def run(
    trials: Sequence[Trial], executor: Instant, policy: Policy | None = None, stop_after: int | None = None
) -> tuple[dict[str, TrialResult], list[TrialResult], Watcher]:
    watcher = Watcher()
    kept: list[TrialResult] = []

    def keep(result: TrialResult) -> TrialResult:
        kept.append(result)
        return result

    context = RunContext(
        executor=executor,
        folder_of=Path,
        keep=keep,
        observer=watcher,
        interrupted=lambda: stop_after is not None and len(watcher.done) >= stop_after,
        grace_s=0.0,
    )
    return run_jobs([job_of(trial) for trial in trials], context, policy or Policy()), kept, watcher


@given(st.lists(st.sampled_from(["cpu", "cuda:0", "cuda:1"]), max_size=30))
def test_each_device_runs_its_trials_in_the_plans_order_one_at_a_time(devices: list[str]) -> None:
    trials = [make_trial(seed=seed, device=device) for seed, device in enumerate(devices)]
    executor = Instant()
    results, _, _ = run(trials, executor)
    assert results.keys() == {trial.id for trial in trials}
    for device in set(devices):
        seeds = [trial.seed for trial in executor.order if trial.device == device]
        assert seeds == sorted(seeds)
    assert executor.at_once == len(set(devices))


@given(st.lists(st.sampled_from(["cpu", "cuda:0"]), max_size=30), st.integers(1, 5))
def test_each_device_runs_as_many_at_once_as_asked_for_in_the_plans_order(
    devices: list[str], jobs: int
) -> None:
    trials = [make_trial(seed=seed, device=device) for seed, device in enumerate(devices)]
    executor = Instant({3: ["killed"]}, jobs)
    results, _, _ = run(trials, executor, Policy(retries=1, jobs=jobs))
    assert results.keys() == {trial.id for trial in trials}
    for device in set(devices):
        seeds = [trial.seed for trial in executor.order if trial.device == device and trial.seed != 3]
        assert seeds == sorted(seeds)
    assert executor.at_once == sum(min(jobs, devices.count(device)) for device in set(devices))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), max_size=30), st.integers(1, 3))
def test_a_trial_has_all_its_devices_and_no_later_one_that_shares_one_starts_before_it(
    placed: list[tuple[int, int]], jobs: int
) -> None:
    trials = [
        make_trial(seed=seed, device=f"cuda:{first}", engine="loop", world_size=size)
        for seed, (first, size) in enumerate(placed)
    ]
    executor = Instant({3: ["killed"]}, jobs)
    results, _, _ = run(trials, executor, Policy(retries=1, jobs=jobs))
    assert results.keys() == {trial.id for trial in trials}
    started = [trial for trial in executor.order if trial.seed != 3]
    for place, trial in enumerate(started):
        for later in started[place + 1 :]:
            assert later.seed > trial.seed or not set(later.devices) & set(trial.devices)


def test_a_trial_that_may_be_retried_is_tried_again_before_the_next_one() -> None:
    executor = Instant({0: ["killed"]})
    results, kept, watcher = run([make_trial(seed=0), make_trial(seed=1)], executor, Policy(retries=1))
    assert [trial.seed for trial in executor.order] == [0, 0, 1]
    assert {result.attempts for result in results.values()} == {1, 2}
    assert [result.notes for result in results.values() if result.attempts == 2] == [
        (watcher.notes[0].removesuffix("; trying again"),)
    ]
    assert kept == []
    assert "trying again" in watcher.notes[0]


def test_nothing_is_retried_unless_asked() -> None:
    results, _, _ = run([make_trial()], Instant({0: ["killed"]}))
    assert [result.status for result in results.values()] == ["killed"]


def test_an_interrupt_starts_no_more_and_marks_what_ran() -> None:
    trials = [make_trial(seed=seed) for seed in range(5)]
    executor = Instant()
    results, _, _ = run(trials, executor, stop_after=2)
    assert [result.status for result in results.values()] == ["completed", "completed"]
    assert executor.stopped


def test_fail_fast_ends_the_run_at_the_first_that_did_not_complete() -> None:
    trials = [make_trial(seed=seed) for seed in range(5)]
    results, _, _ = run(trials, Instant({1: ["failed"]}), Policy(fail_fast=True))
    assert [result.status for result in results.values()] == ["completed", "failed"]


def test_after_equal_errors_the_rest_of_that_value_is_spared_and_marked() -> None:
    trials = [make_trial(padding, seed=seed) for seed in range(4) for padding in ("static", "dynamic")]
    results, kept, _ = run(trials, Refusing("static"), Policy(same_error=3))
    static = [results[trial.id] for trial in trials if trial.padding.strategy == "static"]
    assert [result.status for result in static] == ["failed"] * 4
    assert "all 3 trials with padding static ended with failed in train" in (static[3].reason or "")
    assert kept == [static[3]]
    assert all(results[one.id].status == "completed" for one in trials if one.padding.strategy == "dynamic")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tokenization": Tokenization(method="map"), "tokenizer": "slow"}, "tokenizer slow"),
        ({"tokenization": Tokenization(method="map", num_proc=2)}, "tokenization map(num_proc=2)"),
        ({"train": Train(per_device_train_batch_size=4_096)}, "train.per_device_train_batch_size 4096"),
        ({"train": Train(learning_rate=0.5)}, "train.learning_rate 0.5"),
        ({"last_layer": "cls"}, "last_layer cls"),
        ({"checkpoint": "tiny-uncased", "revision": "abc"}, "revision abc"),
    ],
)
def test_equal_errors_are_counted_on_every_axis(change: dict[str, Any], reason: str) -> None:
    failing = [make_trial(seed=seed, **change) for seed in range(3)]
    kind: dict[str, Any] = {"tokenization": Tokenization(method="map")} if "tokenization" in change else {}
    plain = make_trial(**kind)
    errors = SameError([*failing, plain], 2)
    for trial in failing[:2]:
        errors.add(make_result(trial, status="oom", examples=1))
    assert f"all 2 trials with {reason} ended with oom" in (errors.skip_reason(failing[2]) or "")
    assert errors.skip_reason(plain) is None


@given(st.lists(st.sampled_from(["completed", "failed", "oom"]), min_size=1, max_size=12), st.integers(1, 4))
def test_a_value_is_hopeless_only_when_all_its_trials_ended_alike(
    statuses: list[StatusName], limit: int
) -> None:
    trials = [make_trial(seed=seed) for seed in range(len(statuses) + 1)]
    errors = SameError([*trials, make_trial("static")], limit)
    for trial, status in zip(trials, statuses, strict=False):
        errors.add(make_result(trial, status=status, examples=1))
    alike = len(set(statuses)) == 1 and statuses[0] != "completed" and len(statuses) >= limit
    assert (errors.skip_reason(trials[-1]) is not None) == alike
    assert errors.skip_reason(make_trial("static")) is None


class Refusing(Instant):
    """Fails every trial of one padding."""

    def __init__(self, padding: str) -> None:
        super().__init__()
        self._padding = padding

    def _end(self, job: Job) -> Ended:
        status: StatusName = "failed" if job.trial.padding.strategy == self._padding else "completed"
        return Ended(make_result(job.trial, status=status, examples=1))


class Full(Instant):
    """A store that finds no more space."""

    def poll(self, timeout_s: float) -> Sequence[Event]:
        raise StorageError("no space left")


def test_when_a_result_cannot_be_stored_the_workers_are_stopped_before_the_error_goes_on() -> None:
    executor = Full()
    with pytest.raises(StorageError):
        run([make_trial()], executor)
    assert executor.stopped


def test_a_queue_of_two_desks_keeps_its_order_and_the_results_of_equal_trials_apart() -> None:
    order: list[tuple[str, int]] = []

    class Named(Instant):
        def __init__(self, name: str, fate: dict[int, list[StatusName]]) -> None:
            super().__init__(fate)
            self._name = name

        def submit(self, job: Job, folder: Path) -> None:
            order.append((self._name, number_of(job.trial.seed, "init")))
            super().submit(job, folder)

    trials = [make_trial(seed=seed) for seed in range(2)]
    executors = [Named("a", {}), Named("b", {0: ["killed", "killed"], 1: ["failed"]})]
    contexts = [
        RunContext(
            executor=executor,
            folder_of=Path,
            keep=lambda result: result,
            observer=Watcher(),
            interrupted=lambda: False,
            grace_s=0.0,
        )
        for executor in executors
    ]
    queue = [(0, trials[0]), (1, trials[0]), (1, trials[1]), (0, trials[1])]
    results = run_queue([(at, job_of(trial)) for at, trial in queue], contexts, Policy(retries=1))
    assert order == [("a", 0), ("b", 0), ("b", 0), ("b", 1), ("a", 1)]
    found = [[each[trial.id].status for trial in trials] for each in results]
    assert found == [["completed", "completed"], ["killed", "failed"]]
