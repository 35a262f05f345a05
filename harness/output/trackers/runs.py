"""A trial as a run of an experiment tracker: its name, settings, numbers and series of steps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from harness.analysis.naming import axes, describe
from harness.model.results import Report, TrialResult


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """One trial of one report.

    Args:
        key: 25 characters that start with the trial's id, equal for each export of the same trial and report.
        name: of the variant, with its seed.
        group: the run of the report.
        settings: every axis as text.
        tags: the facts that a number depends on: status, machine, checkpoint, commit.
        metrics: one number each.
        series: numbers by step, from 1.
        started: the start of the trial.
        seconds: its duration.
        completed: whether the trial completed.
    """

    key: str
    name: str
    group: str
    settings: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    series: Mapping[str, Sequence[float]]
    started: datetime
    seconds: float
    completed: bool


def tracked_runs(report: Report) -> Iterator[TrackedRun]:
    """Return every trial of a report that ran, as a run of a tracker."""
    for result in report.results:
        if result.status not in ("unavailable", "pending", "interrupted"):
            yield _tracked(result, report)


def _tracked(result: TrialResult, report: Report) -> TrackedRun:
    trial = result.trial
    session = f"{report.run}\n{result.started.isoformat()}".encode("utf-8", "surrogatepass")
    values = {found.metric: found.values for found in result.measurements if found.values}
    series: dict[str, Sequence[float]] = {metric: found for metric, found in values.items() if len(found) > 1}
    for metric in result.epochs[0].values if result.epochs else ():
        series[f"epoch.{metric}"] = tuple(epoch.values[metric] for epoch in result.epochs)
    return TrackedRun(
        key=f"{trial.id}-{hashlib.sha256(session).hexdigest()[:8]}",
        name=f"{describe(trial)} seed {trial.seed}",
        group=report.run,
        settings={**axes(trial), "seed": str(trial.seed)},
        tags=_tags(result, report),
        metrics={metric: value for metric in values if (value := result.value(metric)) is not None},
        series=series,
        started=result.started,
        seconds=result.duration_s,
        completed=result.status == "completed",
    )


def _tags(result: TrialResult, report: Report) -> dict[str, str]:
    git = report.environment.git
    checkpoint, data, environment = result.checkpoint, result.data, result.environment
    facts = {
        "trial": result.trial.id,
        "variant": result.trial.variant_id,
        "run": report.run,
        "suite": report.suite.name,
        "version": report.harness_version,
        "status": result.status,
        "reason": result.reason,
        "degenerate": "yes" if result.degenerate else None,
        "concurrent": None if result.concurrent == 1 else str(result.concurrent),
        "window_steps": None if result.apart is None else str(result.apart.steps),
        "trained": None if result.apart is None else result.apart.trained,
        "machine": None if environment is None else environment.fingerprint,
        "commit": None if git is None else f"{git.commit}{'-dirty' if git.dirty else ''}",
        "checkpoint": None if checkpoint is None else checkpoint.name,
        "weights": None if checkpoint is None else checkpoint.weights_sha256,
        "stand_in": "yes" if checkpoint is not None and checkpoint.stand_in else None,
        "data": None if data is None else data.content_sha256,
        "synthetic": "yes" if data is not None and data.synthetic else None,
    }
    return {f"harness.{name}": text for name, text in facts.items() if text is not None}
