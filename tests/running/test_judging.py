"""How a trial ended, from what its worker left and how its process ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.model.results import TrialResult
from harness.model.status import StatusName
from harness.running.workers.judging import Attempt, Ended, exit_cause, judge, own_result
from harness.running.workers.local import Limits, overrun
from tests.factories import STARTED, make_result, make_trial
from tests.running.test_scheduler import job_of

NOTHING = "it left no result"


def an_attempt(**changes: Any) -> Attempt:
    job = job_of(make_trial()).model_copy(update=changes)
    return Attempt(job, Path("/x"), since=0.0, phase="train", started=STARTED)


def judged(status: StatusName, reason: str, left: TrialResult | str = NOTHING, **known: Any) -> Ended:
    return judge(an_attempt(), status, reason, left, duration_s=1.0, **known)


@pytest.mark.parametrize(
    ("wait_status", "memory_ran_out", "status", "words", "may_retry"),
    [
        (0 << 8, False, "failed", "exit code 0: it left no result", False),
        (3 << 8, False, "failed", "exit code 3", False),
        (74 << 8, False, "killed", "could not write", True),
        (11, False, "killed", "SIGSEGV", True),
        (9, False, "killed", "SIGKILL", True),
        (9, True, "oom", "batch size 8", True),
        (15, True, "killed", "SIGTERM", True),
        (33, False, "killed", "signal 33", True),
    ],
)
def test_an_exit_without_a_result_is_classified(
    wait_status: int, memory_ran_out: bool, status: str, words: str, may_retry: bool
) -> None:
    found = judged(*exit_cause(wait_status, memory_ran_out=memory_ran_out))
    assert (found.result.status, found.may_retry) == (status, may_retry)
    assert words in (found.result.reason or "")


@pytest.mark.parametrize(
    ("status", "started", "words", "may_retry"),
    [
        ("timeout", True, "the cause", True),
        ("killed", True, "the cause", True),
        ("failed", False, "no worker could be started: the cause", True),
        ("interrupted", True, "the cause", False),
    ],
)
def test_a_cause_outside_the_worker_is_worth_another_attempt(
    status: StatusName, started: bool, words: str, may_retry: bool
) -> None:
    found = judged(status, "the cause", started=started)
    assert (found.result.reason, found.may_retry) == (words, may_retry)


def test_a_worker_that_ran_out_of_memory_has_the_size_of_its_process() -> None:
    assert judged("oom", "it was killed", peak_bytes=2**30).result.value("peak_memory_host_bytes") == 2**30
    assert judged("oom", "it was killed").result.measurements == ()


def test_earlier_attempts_are_counted_and_noted() -> None:
    attempt = an_attempt(failures=("attempt 1 of trial x: killed",), concurrent=2)
    result = judge(attempt, "killed", "again", NOTHING, duration_s=1.0).result
    assert (result.attempts, result.notes, result.concurrent) == (2, ("attempt 1 of trial x: killed",), 2)


def test_a_whole_result_of_the_trial_is_taken_at_its_word() -> None:
    assert own_result(an_attempt(), make_result(make_trial())) == make_result(make_trial())


@pytest.mark.parametrize("status", ["pending", "interrupted"])
def test_a_result_that_only_a_parent_may_give_is_not(status: StatusName) -> None:
    assert own_result(an_attempt(), make_result(make_trial(), status=status)) is None


def test_a_result_of_another_trial_is_not() -> None:
    other = make_result(make_trial(seed=7))
    assert own_result(an_attempt(), other) is None
    found = judged(*exit_cause(0, memory_ran_out=False), left=other)
    assert found.result.status == "failed"
    assert "another trial" in (found.result.reason or "")


LIMITS = Limits(trial_s=100.0, start_s=10.0, stall_s=20.0)


@pytest.mark.parametrize(
    ("elapsed", "silent", "heard", "words"),
    [
        (5, 5, False, None),
        (11, 11, False, "start_timeout_seconds = 10"),
        (11, 1, True, None),
        (50, 21, True, "stall_timeout_seconds = 20"),
        (101, 1, True, "trial_timeout_seconds = 100"),
    ],
)
def test_limits_are_over_all_until_the_first_sign_of_life_and_between_them(
    elapsed: float, silent: float, heard: bool, words: str | None
) -> None:
    sentence = overrun(LIMITS, elapsed_s=elapsed, silent_s=silent, heard=heard)
    assert (sentence is None) if words is None else (words in (sentence or ""))
