"""Compiled variants against their eager counterparts: what compilation costs, and when it is repaid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from harness.analysis.rows import Row
from harness.model.results import Report
from harness.model.trial import Trial
from harness.model.values import Compile


@dataclass(frozen=True, slots=True)
class BreakEven:
    """The compilation of a row against the step times of the same row without it.

    Attributes:
        row: The compiled row.
        compile_seconds: All compilation of a trial, the median over its seeds.
        step_seconds: The median step.
        eager_seconds: The median step of the same trial with `compile: off`.
        noisy: Whether the speed of the machine changed during a trial of either row.
    """

    row: Row
    compile_seconds: float
    step_seconds: float
    eager_seconds: float
    noisy: bool = False

    @property
    def steps(self) -> int | None:
        """Steps after which the saved time exceeds that of compilation; None if no time is saved."""
        saved = self.eager_seconds - self.step_seconds
        return math.ceil(self.compile_seconds / saved) if saved > 0 else None


def break_even(report: Report, rows: Sequence[Row]) -> Iterator[BreakEven]:
    """Yield the break-even of each compiled row whose eager counterpart is in the report.

    Medians of steps leave out the few steps that compiled another graph, whose time is in `compile_seconds`.
    Rows whose times are unusable, or that compute or train another function, have none.
    """
    by_variant = {row.variant: row for row in rows}
    compiled = _values(report, "compile_seconds")
    for row in rows:
        if not (seconds := compiled.get(row.variant)):
            continue
        eager = by_variant.get(_eager(row.trial).variant_id)
        if eager is None or eager is row or not (_usable(row) and _usable(eager)):
            continue
        if row.step_seconds_median is not None and eager.step_seconds_median is not None:
            steps = (row.step_seconds_median, eager.step_seconds_median)
            yield BreakEven(row, median(seconds), *steps, noisy=bool(row.noisy or eager.noisy))


def recompiled(report: Report, rows: Sequence[Row]) -> dict[str, int]:
    """Return the most graphs that a trial compiled during its timed steps, by variant; none of 0."""
    counts = _values(report, "recompiles")
    most = {row.variant: max(counts.get(row.variant, ()), default=0.0) for row in rows}
    return {variant: int(graphs) for variant, graphs in most.items() if graphs}


def _eager(trial: Trial) -> Trial:
    return trial.model_copy(update={"compile": Compile(mode="off")})


def _usable(row: Row) -> bool:
    return row.concurrent == 1 and not row.mixed and not row.fails_parity and not row.fails_training


def _values(report: Report, metric: str) -> dict[str, list[float]]:
    """Return the values of a metric in the completed trials by variant, without variants that have none."""
    found: dict[str, list[float]] = {}
    for result in report.results:
        if result.status == "completed" and (measured := result.measurement(metric)) is not None:
            found.setdefault(result.trial.variant_id, []).extend(measured.values)
    return found
