"""Decide how an attempt at a trial ended, from what its worker left behind and how its process ended.

Predictions are scored in a separate process, so that the caller does not import torch.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from harness.errors import InvalidInputError, StorageError, UnavailableError
from harness.machine.requirements import require_extra
from harness.model.arrays import Logits
from harness.model.environment import Environment
from harness.model.job import Job
from harness.model.measurements import measured
from harness.model.quality import OwnAnswer, OwnAnswers, OwnScore, OwnScores, Predictions
from harness.model.results import TrialResult
from harness.model.status import STATUSES, Phase, StatusName
from harness.model.suite import OwnMetric
from harness.programs import ProgramError, run_program
from harness.running.workers.environ import worker_environment


@dataclass(slots=True, eq=False)
class Attempt:
    """An attempt at a trial that runs somewhere.

    `since` is in seconds of the monotonic clock, `started` in UTC; `phase` is the last that was announced.
    """

    job: Job
    folder: Path
    since: float
    phase: Phase = "start"
    started: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Ended:
    """A trial has ended. `may_retry` tells whether another attempt could end otherwise."""

    result: TrialResult
    may_retry: bool = False


def own_result(attempt: Attempt, left: TrialResult | str) -> TrialResult | None:
    """The worker's own result, which counts however its process ended afterwards: it is its last act."""
    # A status that is not final is for a parent to give.
    if isinstance(left, TrialResult) and left.trial == attempt.job.trial and STATUSES[left.status].final:
        return left
    return None


def exit_cause(wait_status: int, *, memory_ran_out: bool, who: str = "its worker") -> tuple[StatusName, str]:
    """Return status and reason of a trial whose worker ended without a result.

    Args:
        wait_status: as of `os.wait`.
        memory_ran_out: whether the system was short of memory.
        who: the process that ended first.
    """
    if not os.WIFSIGNALED(wait_status):
        code = os.waitstatus_to_exitcode(wait_status)
        if code == StorageError.exit_code:
            # Not the trial's fault: it runs again once there is space.
            return "killed", "its worker could not write its result"
        return "failed", f"its worker ended with exit code {code}"
    name = signal_name(os.WTERMSIG(wait_status))
    if name == "SIGKILL" and memory_ran_out:
        return "oom", f"the system killed {who} ({name}) when memory ran out"
    return "killed", f"{who} was killed by {name}"


def judge(  # noqa: PLR0913 - what is known of a trial's end has this many sides
    attempt: Attempt,
    status: StatusName,
    reason: str,
    left: TrialResult | str,
    *,
    duration_s: float,
    started: bool = True,
    peak_bytes: int = 0,
    environment: Environment | None = None,
) -> Ended:
    """Return the row of a trial whose worker left no result.

    Args:
        attempt: the attempt that has ended.
        status: why it ended.
        reason: the same as a sentence.
        left: a sentence on why no result can be read, or the result of another trial.
        duration_s: how long it took, in seconds of the monotonic clock.
        started: whether a worker was started at all.
        peak_bytes: the largest size of the worker's process; 0 if unknown.
        environment: where it ran; None if unknown.
    """
    job = attempt.job
    if not started:
        reason = f"no worker could be started: {reason}"
    elif status == "failed":
        reason = f"{reason}: {_unread(left)}"
    elif status == "oom":
        batch = job.trial.train.per_device_train_batch_size
        reason = f"out of memory on host at batch size {batch}: {reason}"
    peak = (measured("peak_memory_host_bytes", peak_bytes),) if status == "oom" and peak_bytes else ()
    result = TrialResult(
        trial=job.trial,
        status=status,
        phase=attempt.phase,
        reason=reason,
        measurements=peak,
        environment=environment,
        started=attempt.started,
        duration_s=max(duration_s, 0.0),
    )
    # Causes outside the worker may be gone next time; a failure of its code would repeat.
    return Ended(job.completed_by(result), may_retry=STATUSES[status].retried or not started)


def _unread(left: TrialResult | str) -> str:
    if isinstance(left, str):
        return left
    return f"it left the result of another trial, {left.trial.id}, or one that is {left.status}"


def signal_name(number: int) -> str:
    """`SIGSEGV` for 11; the number itself where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


SCORER: Final = "harness.training.rescoring"
"""The module of the scorer, by name: importing it here would import torch."""
OWN_SCORER: Final = "harness.training.own_metrics"
_SECONDS: Final = 1_800.0
_LONGEST_WORDS: Final = 500


def score_again(
    predictions: Sequence[Predictions], scorer: str = SCORER, *, limit_s: float = _SECONDS
) -> str:
    """The scores of these predictions, as the line of JSON that the scorer's docstring describes.

    A scorer that takes longer than `limit_s` seconds is killed, with all that it started.

    Raises:
        UnavailableError: The scorer is not installed, or ended without an answer.
    """
    if scorer == SCORER:
        require_extra("train")
    return _answer(scorer, _written(predictions), limit_s)


def score_own(
    metrics: Sequence[OwnMetric], predictions: Sequence[Predictions], *, limit_s: float = _SECONDS
) -> tuple[OwnAnswer, ...]:
    """Return the answer of each of the user's metrics on these predictions; the files run in their process.

    Raises:
        UnavailableError: The scorer is not installed, or ended without an answer.
    """
    require_extra("train")
    # Unlike `Path.expanduser`, this leaves an unknown user in the path, which the scorer then reports.
    paths = [str(Path(os.path.expanduser(metric.path)).absolute()) for metric in metrics]  # noqa: PTH111
    line = _answer(OWN_SCORER, {"paths": paths, "predictions": _written(predictions)}, limit_s)
    try:
        return OwnAnswers.model_validate_json(line).answers
    except ValidationError as error:
        raise _silent("gave no scores of own metrics") from error


def own_scores(metrics: Sequence[OwnMetric], predictions: Mapping[str, Predictions]) -> tuple[OwnScores, ...]:
    """Return the scores of the user's metrics by trial id; where they fail, the reason for each trial.

    The trials are done and their report must be written, so that a failing scorer is a reason too.
    """
    try:
        answers = score_own(metrics, [*predictions.values()])
    except UnavailableError as error:
        answers = tuple(OwnAnswer(reason=error.one_line) for _ in metrics)
    found = []
    for metric, answer in zip(metrics, answers, strict=True):
        scores = answer.scores or (OwnScore(reason=answer.reason or "was not scored"),) * len(predictions)
        file = Path(metric.path).name
        found.append(
            OwnScores(
                label=metric.name,
                goal=metric.goal,
                file=file,
                version=f"{file} sha256:{answer.sha256}" if answer.sha256 else f"{file}, not read",
                scores=dict(zip(predictions, scores, strict=True)),
            )
        )
    return tuple(found)


def require_own(metrics: Sequence[OwnMetric]) -> None:
    """Check that each of the user's metrics scores a small evaluation.

    Raises:
        InvalidInputError: A file is missing, has no metric, or its metric fails; the message names each.
        UnavailableError: As `score_own`.
    """
    if not metrics:
        return
    answers = score_own(metrics, [_SMALL])
    problems = [
        f"metrics: {metric.path}: {reason}"
        for metric, answer in zip(metrics, answers, strict=True)
        if (reason := answer.reason or answer.scores[0].reason) is not None
    ]
    if problems:
        raise InvalidInputError(
            "\n".join(problems),
            hint="Correct the files; a metric is a Python file with one class derived from evaluate.Metric.",
        )


_SMALL: Final = Predictions(
    example_ids=(0, 1, 2, 3),
    labels=(0, 1, 0, 1),
    logits=Logits([(1.0, 0.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0)]),
)


def _written(predictions: Sequence[Predictions]) -> list[dict[str, object]]:
    return [{"labels": each.labels, "logits": list(each.logits)} for each in predictions]


def _answer(scorer: str, asked: object, limit_s: float) -> str:
    """Return the last line that a scorer writes for this request."""
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        environ = worker_environment(os.environ, threads=1, run_folder=Path(folder))
        environ["TMPDIR"] = folder
        try:
            # -P keeps the current directory out of the import path: a file there must not pass for a library.
            done = run_program(
                [sys.executable, "-P", "-m", scorer],
                timeout_s=limit_s,
                environ=environ,
                given=json.dumps(asked).encode(),
                cwd=Path(folder),
            )
        except ProgramError as error:
            raise _silent(str(error)) from error
    lines = done.stdout.decode("utf-8", "backslashreplace").splitlines()
    if done.code != 0 or not lines:
        words = [
            line for line in done.stderr.decode("utf-8", "backslashreplace").splitlines() if line.strip()
        ]
        reason = f": {words[-1].strip()[:_LONGEST_WORDS]}" if words else ""
        raise _silent(f"ended with exit code {done.code}{reason}")
    return lines[-1]


def _silent(how: str) -> UnavailableError:
    return UnavailableError(
        f"the scorer of the logits {how}",
        hint="Check the installation: `harness run suites/quickstart.yaml`.",
    )
