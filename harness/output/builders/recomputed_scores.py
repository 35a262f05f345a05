"""Scores from stored logits as a document: each with the stored score, and a verdict for each trial."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.assets_used import asset_sentences
from harness.analysis.scored_again import Rescored
from harness.model.metrics import OWN, metric_named, metrics_of
from harness.model.results import UNSEALED, Report
from harness.model.tasks import further_scores
from harness.output.builders.report_parts.accuracy_tables import breakdown_tables
from harness.output.document import Case, Column, Document, Table
from harness.output.numbers import NOTHING
from harness.words import count


def rescoring_document(
    report: Report, trials: Sequence[Rescored], metric_version: str, notes: Sequence[str] = ()
) -> Document:
    """One row a trial; `metric_version` is that of the new scores, `notes` are about users' metrics."""
    differing = sum(trial.differs for trial in trials)
    versions = dict.fromkeys(
        result.metric_version or "unknown" for result in report.results if result.predictions is not None
    )
    return Document(
        kind="rescoring",
        title=f"{report.suite.name}, run {report.run}: {count(len(trials), 'trial')}, {differing} differing",
        model={
            "run": report.run,
            "metric_version": metric_version,
            "assets": list(asset_sentences(report.results)),
            "trials": [_model(trial) for trial in trials],
        },
        summary=(f"metrics: stored {', '.join(versions)}; now {metric_version}",),
        tables=(Table("Scores", _columns(report, trials)),),
        details=tuple(breakdown_tables(report)),
        notes=(
            *asset_sentences(report.results),
            *([UNSEALED] if UNSEALED in report.notes else []),
            *notes,
            *(f"{trial.name}: {note}" for trial in trials for note in trial.notes),
        ),
        name="harness rescore",
        cases=[
            Case(
                name=trial.name,
                classname="harness.rescore",
                status="failed" if trial.differs else "passed",
                message=_word(trial),
                details="\n".join(trial.notes),
            )
            for trial in trials
        ],
    )


def _model(trial: Rescored) -> dict[str, object]:
    scores = {metric: {"stored": stored, "now": now} for metric, (stored, now) in trial.values.items()}
    return {"name": trial.name, "differs": trial.differs, "scores": scores, "notes": list(trial.notes)}


def _columns(report: Report, trials: Sequence[Rescored]) -> tuple[Column, ...]:
    return (
        Column("trial", tuple(trial.name for trial in trials), numeric=False),
        *(
            Column(metric_named(metric).label, tuple(_cell(trial, metric) for trial in trials))
            for metric in (
                *metrics_of("quality"),
                *further_scores(result.trial.task for result in report.results),
                *(OWN + own.label for own in report.own_metrics),
            )
            if any(metric in trial.values for trial in trials)
        ),
        Column(
            "verdict",
            tuple(map(_word, trials)),
            numeric=False,
            tones=tuple("bad" if trial.differs else "" for trial in trials),
        ),
    )


def _word(trial: Rescored) -> str:
    return "differs" if trial.differs else "same"


def _cell(trial: Rescored, metric: str) -> str:
    """`0.8578`, or `0.8578, now 0.8431` where the two differ; all digits where four do not show it.

    A score that is newer than the report is shown as it is now.
    """
    if metric not in trial.values:
        return NOTHING
    stored, again = trial.values[metric]
    if not trial.differing(metric):
        known = again if stored is None else stored
        return NOTHING if known is None else f"{known:.4f}"
    texts = [NOTHING if value is None else f"{value:.4f}" for value in (stored, again)]
    if texts[0] == texts[1]:
        texts = [repr(stored), repr(again)]
    return f"{texts[0]}, now {texts[1]}"
