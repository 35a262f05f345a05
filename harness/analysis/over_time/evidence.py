"""Evidence of variance in earlier trials: over the seeds of a recipe, and between runs of one machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.over_time.earlier_trials import (
    EarlierTrial,
    Group,
    by_state,
    each_seed_once,
    named_runs,
)
from harness.analysis.stats.machine_states import LEAST_STATES, pooled_variance, run_variance
from harness.analysis.stats.ratios import RunVariance
from harness.analysis.stats.scoring import Numbers, are_summable
from harness.analysis.stats.sheets import PairedSheets, read_sheet
from harness.model.metrics import score_and_split
from harness.model.seeds import Seed


@dataclass(frozen=True, slots=True)
class SeedEvidence:
    """Predictions of earlier seeds, for each recipe (E, N) with E above 1, and their degrees of freedom."""

    columns: tuple[Numbers, ...] = ()
    freedom: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunEvidence:
    """The variance between earlier runs, or None with fewer than two."""

    variance: RunVariance | None = None
    notes: tuple[str, ...] = ()


def seed_evidence(
    groups: Sequence[Group], paired: PairedSheets, metric: str, taken: Iterable[Seed]
) -> SeedEvidence:
    """Return the predictions of earlier seeds on the compared examples.

    Args:
        groups: earlier trials, a group for each recipe.
        paired: the sheets that are compared.
        metric: a score, which may be one of a further evaluation split.
        taken: seeds of the compared reports that already contribute to the variance.
    """
    kept: list[Group] = []
    columns: list[Numbers] = []
    most = 0
    for group in groups:
        seeds = each_seed_once(group, taken)
        found = [(trial, column) for trial in seeds if (column := _column(trial, paired, metric)) is not None]
        most = max(most, len(found))
        if len(found) > 1:
            kept.append(tuple(trial for trial, _ in found))
            columns.append(np.stack([column for _, column in found]))
    if not kept:
        return SeedEvidence(notes=(_too_few(most, "seed of this recipe", "over seeds"),))
    every = [trial for group in kept for trial in group]
    count = len({trial.result.trial.seed for trial in every})
    # Two recipes may share seeds; their scores are then correlated.
    freedom = float(min(len(every) - len(kept), count - 1))
    return SeedEvidence(
        tuple(columns), freedom, (f"seed variance from {count} seeds of {named_runs(every)}",)
    )


def _column(trial: EarlierTrial, paired: PairedSheets, metric: str) -> Numbers | None:
    """Return the input of the metric in the order of the compared examples, or None if unavailable."""
    score, split = score_and_split(metric)
    sheet = read_sheet(trial.result, split)
    if sheet is None or not np.isin(paired.ids, sheet.ids).all():
        return None
    taken = sheet.take(paired.ids)
    column = taken.column(score)
    return column if np.array_equal(taken.labels, paired.labels) and are_summable(column) else None


def run_evidence(groups: Sequence[Group], metric: str) -> RunEvidence:
    """Return the variance of one metric between earlier runs.

    Args:
        groups: earlier trials, a group for each matching side.
        metric: a timing metric.
    """
    measured = [tuple(trial for trial in group if (trial.result.value(metric) or 0) > 0) for group in groups]
    states = [_values(group, metric) for group in measured]
    found = [(group, run_variance(values)) for group, values in zip(measured, states, strict=True)]
    known = [variance for _, variance in found if variance is not None]
    every = [trial for group, variance in found if variance is not None for trial in group]
    # A long run of one group may overlap separate runs of the other: all are then one state of the machine.
    count = len(by_state(every))
    if count < LEAST_STATES:
        most = count or max(map(len, states), default=0)
        return RunEvidence(notes=(_too_few(most, "run of this variant on this machine", "between runs"),))
    variance = pooled_variance(known, count)
    note = f"variance between runs from {variance.runs} earlier runs: {named_runs(every)}"
    if len({trial.report.run for trial in every}) > count:
        note += ", where runs less than a minute apart count as one"
    return RunEvidence(variance, (note,))


def _values(group: Group, metric: str) -> list[list[float]]:
    """Return one number per trial, grouped by state of the machine."""
    return [
        [value for trial in state if (value := trial.result.value(metric)) is not None]
        for state in by_state(group)
    ]


def _too_few(number: int, what: str, over: str) -> str:
    return f"the history has {number or 'no'} other {what}: a variance {over} needs two or more"
