"""What is said of a trial, from what its worker left and how its process ended."""

from __future__ import annotations

import pytest

from harness.model.results import TrialResult
from harness.running.limits import Limits, overrun
from harness.running.workers.judging import Ending, judge
from tests.factories import STARTED, make_result, make_trial
from tests.running.test_scheduler import job_of


def said(ending: Ending, left: TrialResult | str = "it left no result") -> tuple[str, str, bool]:
    judgement = judge(job_of(make_trial()), left, ending, phase="train", started=STARTED, duration_s=1.0)
    return judgement.result.status, judgement.result.reason or "", judgement.may_retry


@pytest.mark.parametrize(
    ("ending", "status", "words", "may_retry"),
    [
        (Ending(code=0), "failed", "exit code 0: it left no result", False),
        (Ending(code=3), "failed", "exit code 3", False),
        (Ending(code=74), "killed", "could not write", True),
        (Ending(signal=11), "killed", "SIGSEGV", True),
        (Ending(signal=9), "killed", "SIGKILL", True),
        (Ending(signal=9, memory_ran_out=True), "oom", "batch size 8", True),
        (Ending(signal=15, memory_ran_out=True), "killed", "SIGTERM", True),
        (Ending(signal=15, overrun="took longer than 5"), "timeout", "took longer", True),
        (Ending(signal=9, overrun="took longer than 5", memory_ran_out=True), "timeout", "took", True),
        (Ending(lost="the fork server ended"), "killed", "fork server", True),
        (Ending(refused="no processes left"), "failed", "no processes left", True),
        (Ending(signal=9, interrupted=True), "interrupted", "the run was interrupted", False),
        (Ending(signal=200), "killed", "signal 200", True),
    ],
)
def test_an_end_without_a_result_is_classified(
    ending: Ending, status: str, words: str, may_retry: bool
) -> None:
    said_status, reason, said_retry = said(ending)
    assert (said_status, said_retry) == (status, may_retry)
    assert words in reason


def test_a_whole_result_of_the_trial_is_taken_at_its_word() -> None:
    assert said(Ending(signal=11), make_result(make_trial()))[0] == "completed"


def test_a_result_of_another_trial_is_not() -> None:
    status, reason, _ = said(Ending(code=0), make_result(make_trial(seed=7)))
    assert status == "failed"
    assert "another trial" in reason


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
