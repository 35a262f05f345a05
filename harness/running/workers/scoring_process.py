"""Score predictions or inspect data in a separate process, so that the caller does not import torch."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from pydantic import ValidationError

from harness.errors import InvalidInputError, UnavailableError
from harness.machine.requirements import require_extra
from harness.model.arrays import Logits
from harness.model.inspection import InspectionAnswer, InspectionRequest
from harness.model.quality import OwnAnswer, OwnAnswers, OwnScore, OwnScores, Predictions
from harness.model.suite import OwnMetric
from harness.model.tasks import TaskKind
from harness.programs import ProgramError, run_program
from harness.running.workers.environ import worker_environment

SCORER: Final = "harness.training.processes.rescoring"
"""The module of the scorer, by name: importing it here would import torch."""
OWN_SCORER: Final = "harness.training.processes.own_metrics"
INSPECTOR: Final = "harness.training.processes.inspecting"
"""The module that inspects data, by name for the same reason."""
_WHO: Final = "the scorer of the logits"
_SECONDS: Final = 1_800.0
_LONGEST_WORDS: Final = 500
# Their variance is then off by a tenth, which the degrees of freedom of a comparison account for.
_RESAMPLES: Final = 200


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
    return _answer(scorer, json.dumps(_written(predictions)), _WHO, limit_s)


def score_own(
    metrics: Sequence[OwnMetric],
    predictions: Sequence[Predictions],
    *,
    resamples: int = 0,
    limit_s: float = _SECONDS,
) -> tuple[OwnAnswer, ...]:
    """Return the answer of each of the user's metrics on these predictions; the files run in their process.

    With `resamples` each score has as many more, on resamples of the examples.

    Raises:
        UnavailableError: The scorer is not installed, or ended without an answer.
    """
    require_extra("train")
    # Unlike `Path.expanduser`, this leaves an unknown user in the path, which the scorer then reports.
    paths = [str(Path(os.path.expanduser(metric.path)).absolute()) for metric in metrics]  # noqa: PTH111
    asked = json.dumps({"paths": paths, "resamples": resamples, "predictions": _written(predictions)})
    line = _answer(OWN_SCORER, asked, _WHO, limit_s)
    try:
        return OwnAnswers.model_validate_json(line).answers
    except ValidationError as error:
        raise _silent(_WHO, "gave no scores of own metrics") from error


class ScoreOwn(Protocol):
    """Scores predictions by users' metrics, as `score_own` does in a process."""

    def __call__(
        self, metrics: Sequence[OwnMetric], predictions: Sequence[Predictions], *, resamples: int
    ) -> tuple[OwnAnswer, ...]:
        """Return an answer for each metric."""


def own_scores(
    metrics: Sequence[OwnMetric], predictions: Mapping[str, Predictions], *, score: ScoreOwn = score_own
) -> tuple[OwnScores, ...]:
    """Return the scores of the user's metrics by trial id; where they fail, the reason for each trial.

    The trials are done and their report must be written, so that a failing scorer is a reason too.
    """
    try:
        answers = score(metrics, [*predictions.values()], resamples=_RESAMPLES)
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


def require_own(
    metrics: Sequence[OwnMetric], kinds: Collection[TaskKind], *, score: ScoreOwn = score_own
) -> None:
    """Check that each of the user's metrics scores a small evaluation of each kind of task.

    Raises:
        InvalidInputError: A file is missing, has no metric, or its metric fails; the message names each.
        UnavailableError: As `score_own`.
    """
    if not metrics:
        return
    answers = score(metrics, [_SMALL[kind] for kind in kinds], resamples=0)
    problems = [
        f"metrics: {metric.path}: {reason}"
        for metric, answer in zip(metrics, answers, strict=True)
        for reason in dict.fromkeys([answer.reason, *(each.reason for each in answer.scores)])
        if reason is not None
    ]
    if problems:
        raise InvalidInputError(
            "\n".join(problems),
            hint="Correct the files; a metric is a Python file with one class derived from evaluate.Metric.",
        )


_SMALL: Final[dict[TaskKind, Predictions]] = {
    "classification": Predictions(
        example_ids=(0, 1, 2, 3),
        labels=(0, 1, 0, 1),
        logits=Logits([(1.0, 0.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0)]),
    ),
    "regression": Predictions(
        example_ids=(0, 1, 2, 3),
        labels=(0.0, 1.5, 2.5, 4.0),
        logits=Logits([(0.5,), (1.0,), (3.0,), (2.5,)]),
    ),
}


def _written(predictions: Sequence[Predictions]) -> list[dict[str, object]]:
    return [
        {
            "labels": each.labels,
            "logits": list(each.logits),
            **({"splits": each.splits} if each.splits else {}),
        }
        for each in predictions
    ]


def inspect_data(
    request: InspectionRequest, inspector: str = INSPECTOR, *, limit_s: float = _SECONDS
) -> InspectionAnswer:
    """Return the inspector's answer, as its docstring describes it; kill it after `limit_s` seconds.

    Raises:
        UnavailableError: The inspector is not installed, or ended without an answer.
    """
    if inspector == INSPECTOR:
        require_extra("train")
    who = "the inspector of the data"
    answer = _answer(inspector, request.model_dump_json(), who, limit_s)
    try:
        return InspectionAnswer.model_validate_json(answer)
    except ValidationError as error:
        raise _silent(who, f"gave no inspection: {answer[:_LONGEST_WORDS]}") from error


def _answer(module: str, asked: str, who: str, limit_s: float) -> str:
    """Return the last line that a module prints for this request on its standard input."""
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        environ = worker_environment(os.environ, threads=1, run_folder=Path(folder))
        environ["TMPDIR"] = folder
        try:
            # -P keeps the current directory out of the import path: a file there must not pass for a library.
            done = run_program(
                [sys.executable, "-P", "-m", module],
                timeout_s=limit_s,
                environ=environ,
                given=asked.encode(),
                cwd=Path(folder),
            )
        except ProgramError as error:
            raise _silent(who, str(error)) from error
    lines = done.stdout.decode("utf-8", "backslashreplace").splitlines()
    if done.code != 0 or not lines:
        words = [
            line for line in done.stderr.decode("utf-8", "backslashreplace").splitlines() if line.strip()
        ]
        reason = f": {words[-1].strip()[:_LONGEST_WORDS]}" if words else ""
        raise _silent(who, f"ended with exit code {done.code}{reason}")
    return lines[-1]


def _silent(who: str, how: str) -> UnavailableError:
    return UnavailableError(
        f"{who} {how}",
        hint="Check the installation: `harness run quickstart`.",
    )
