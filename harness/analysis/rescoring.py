"""Compare stored scores with scores recomputed from the stored logits, and update a report with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.analysis.naming import labels
from harness.analysis.verification import Contradiction, beyond_scores
from harness.errors import InvalidInputError
from harness.model.measurements import measured
from harness.model.metrics import METRICS, metrics_of
from harness.model.quality import Predictions, Score, Scores
from harness.model.results import Report, TrialResult

# Both are computed in double precision from the same logits: a larger difference means a changed value.
TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Rescored:
    """One trial: its name, and for each metric the stored and the recomputed value; None if unknown.

    `notes` list other differences.
    """

    name: str
    values: dict[str, tuple[float | None, float | None]]
    notes: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether a stored score differs from the stored logits, or `notes` lists a difference."""
        return bool(self.notes) or any(map(self.differing, self.values))

    def differing(self, metric: str) -> bool:
        """Return whether the stored value of one metric differs."""
        stored, again = self.values[metric]
        if stored is None and METRICS[metric].later:
            return False
        if stored is None or again is None:
            return stored is not again
        return abs(stored - again) > TOLERANCE


def to_score(report: Report) -> tuple[Predictions, ...]:
    """Return the stored predictions of all trials, in the order of the report.

    Raises:
        InvalidInputError: The report contains no predictions.
    """
    kept = tuple(result.predictions for result in report.results if result.predictions is not None)
    if not kept:
        raise InvalidInputError(
            f"report {report.run} contains no predictions, so there is nothing to score",
            hint="Only completed trials keep them: run the suite again.",
        )
    return kept


def compare_scores(report: Report, scores: Scores) -> tuple[Rescored, ...]:
    """Return each completed trial with its stored scores and those of `to_score(report)`, recomputed."""
    variants = labels(result.trial for result in report.results)
    return tuple(
        _both(
            result,
            f"{variants[result.trial.variant_id]} seed {result.trial.seed}",
            score,
            beyond_scores(result, report.suite.measure.warmup_steps),
        )
        for result, score in _with_scores(report, scores)
        if result.status == "completed" or score is not None
    )


def with_scores(report: Report, scores: Scores) -> Report:
    """Return the report with the new scores instead of the stored ones, and a note about it."""
    results = [
        result if score is None or score.reason is not None else _rescored(result, score, scores)
        for result, score in _with_scores(report, scores)
    ]
    note = f"scored again from the stored logits with metrics {scores.metric_version}"
    return report.model_copy(update={"results": tuple(results), "notes": (*report.notes, note)})


def _with_scores(report: Report, scores: Scores) -> list[tuple[TrialResult, Score | None]]:
    found = iter(scores.scores)
    pairs = [
        (result, None if result.predictions is None else next(found, Score(reason="was not scored")))
        for result in report.results
    ]
    if next(found, None) is not None:
        raise ValueError("more scores than predictions")
    return pairs


def _both(result: TrialResult, name: str, score: Score | None, others: Sequence[Contradiction]) -> Rescored:
    again = {} if score is None else score.scores
    notes = []
    if score is None:
        notes.append("kept no predictions")
    elif score.reason is not None:
        notes.append(score.reason)
    elif score.degenerate != result.degenerate:
        notes.append(f"degenerate is {result.degenerate}, but {score.degenerate} by its logits")
    notes += map(str, others)
    kind = result.trial.task.kind
    values = {
        metric: (stored, again.get(metric))
        for metric in metrics_of("quality")
        if (stored := result.value(metric)) is not None or METRICS[metric].of == kind
    }
    return Rescored(name, values, tuple(notes))


def _rescored(result: TrialResult, score: Score, scores: Scores) -> TrialResult:
    new = score.scores
    kept = [found for found in result.measurements if found.metric not in new]
    *earlier, last = result.epochs or (None,)
    epochs = () if last is None else (*earlier, last.model_copy(update={"scores": last.scores | new}))
    return result.model_copy(
        update={
            "epochs": epochs,
            "measurements": (*(measured(metric, value) for metric, value in new.items()), *kept),
            "metric_version": scores.metric_version,
            "degenerate": score.degenerate,
        }
    )
