"""Compare stored scores with scores recomputed from the stored logits, and update a report with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.analysis.checks.contradiction import Contradiction
from harness.analysis.checks.verification import beyond_scores
from harness.analysis.naming import labels
from harness.errors import InvalidInputError
from harness.model.measurements import measured
from harness.model.metrics import OWN, metric_named, metrics_of
from harness.model.quality import OwnScores, Predictions, Score, Scores
from harness.model.results import Report, TrialResult
from harness.model.suite import OwnMetric
from harness.model.tasks import further_scores, scores_of

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
        if stored is None and metric_named(metric).later:
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


def compare_scores(report: Report, scores: Scores, own: Sequence[OwnScores] = ()) -> tuple[Rescored, ...]:
    """Return each completed trial with its stored scores and those of `to_score(report)`, recomputed.

    `own` are the scores by users' metrics, recomputed; a metric whose file cannot be used has none.
    """
    variants = labels(result.trial for result in report.results)
    return tuple(
        _both(
            result,
            f"{variants[result.trial.variant_id]} seed {result.trial.seed}",
            score,
            beyond_scores(result, report.suite.measure.warmup_steps),
            _own_values(report, own, result.trial.id),
        )
        for result, score in _with_scores(report, scores)
        if result.status == "completed" or score is not None
    )


def own_metrics_of(report: Report) -> tuple[OwnMetric, ...]:
    """Return the users' metrics of the suite that the report has scores of."""
    stored = {found.label for found in report.own_metrics}
    return tuple(metric for metric in report.suite.metrics if metric.name in stored)


def own_metric_problems(report: Report, own: Sequence[OwnScores]) -> Iterator[str]:
    """Yield a sentence for each user's metric whose file changed, or that cannot be computed again."""
    found = {each.label: each for each in own}
    for stored in report.own_metrics:
        again = found.get(stored.label)
        if again is None:
            yield f"not scored again: {stored.label}, whose file the suite does not name"
        elif (reason := _unusable(again)) is not None:
            yield f"not scored again: {stored.label}: {again.file} {reason}"
        elif again.version != stored.version:
            yield f"{stored.label}: its file changed: stored {stored.version}, now {again.version}"


def _unusable(own: OwnScores) -> str | None:
    """Return why no trial has a score by a user's metric, or None."""
    reasons = [score.reason for score in own.scores.values()]
    return None if None in reasons or not reasons else reasons[0]


def _own_values(
    report: Report, own: Sequence[OwnScores], trial: str
) -> dict[str, tuple[float | None, float | None]]:
    again = {each.label: each for each in own if _unusable(each) is None}
    return {
        OWN + stored.label: (_value(stored, trial), _value(again[stored.label], trial))
        for stored in report.own_metrics
        if stored.label in again
    }


def _value(own: OwnScores, trial: str) -> float | None:
    score = own.scores.get(trial)
    return None if score is None else score.value


def with_scores(report: Report, scores: Scores, own: Sequence[OwnScores] = ()) -> Report:
    """Return the report with the new scores instead of the stored ones, and a note about it."""
    results = [
        result if score is None or score.reason is not None else _rescored(result, score, scores)
        for result, score in _with_scores(report, scores)
    ]
    note = f"scored again from the stored logits with metrics {scores.metric_version}"
    again = {each.label: each for each in own if _unusable(each) is None}
    owned = tuple(again.get(stored.label, stored) for stored in report.own_metrics)
    return report.model_copy(
        update={"results": tuple(results), "own_metrics": owned, "notes": (*report.notes, note)}
    )


def _with_scores(report: Report, scores: Scores) -> list[tuple[TrialResult, Score | None]]:
    found = iter(scores.scores)
    pairs = [
        (result, None if result.predictions is None else next(found, Score(reason="was not scored")))
        for result in report.results
    ]
    assert next(found, None) is None, "more scores than predictions"
    return pairs


def _both(
    result: TrialResult,
    name: str,
    score: Score | None,
    others: Sequence[Contradiction],
    own: Mapping[str, tuple[float | None, float | None]],
) -> Rescored:
    again = {} if score is None else score.scores
    notes = []
    if score is None:
        notes.append("kept no predictions")
    elif score.reason is not None:
        notes.append(score.reason)
    elif score.degenerate != result.degenerate:
        notes.append(f"degenerate is {result.degenerate}, but {score.degenerate} by its logits")
    notes += map(str, others)
    due = scores_of(result.trial.task)
    values = {
        metric: (stored, again.get(metric))
        for metric in (*metrics_of("quality"), *further_scores([result.trial.task]))
        if (stored := result.value(metric)) is not None or metric in due
    }
    return Rescored(name, {**values, **own}, tuple(notes))


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
