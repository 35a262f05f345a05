"""A report as CSV: one line a trial, raw numbers in base units, no cell that a spreadsheet would execute."""

from __future__ import annotations

import csv
import io
from typing import Final

from harness.analysis.naming import axes
from harness.analysis.summary import quantile
from harness.model.metrics import METRICS
from harness.model.results import Report, TrialResult
from harness.output.safe_text import safe_text

LONGEST_CELL: Final = 2_000

# Spreadsheets take a cell that begins so as a formula; the wide forms are East Asian keyboards'.
_FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001 - the wide forms are meant

Cell = str | float | int


def csv_cell(text: str) -> str:
    """Text that stays text in a spreadsheet; one that looks like a formula gets an apostrophe before it."""
    shown = safe_text(text, LONGEST_CELL)
    return f"'{shown}" if shown.lstrip(" '\"").startswith(_FORMULA) else shown


def to_csv(report: Report) -> str:
    """A line for each trial of the plan; empty numbers were not measured."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    records = [_record(report, result) for result in report.results]
    if not records:
        return ""
    writer.writerow(csv_cell(name) for name in records[0])
    for record in records:
        writer.writerow(csv_cell(cell) if isinstance(cell, str) else cell for cell in record.values())
    return out.getvalue()


def _record(report: Report, result: TrialResult) -> dict[str, Cell]:
    steps = result.measurement("train_step_seconds")
    return {
        "suite": report.suite.name,
        "run": report.run,
        "trial": result.trial.id,
        "variant": result.trial.variant_id,
        **axes(result.trial),
        "seed": result.trial.seed,
        "status": result.status,
        "phase": result.phase,
        "reason": result.reason or "",
        "degenerate": _yes(result.degenerate),
        "stand_in": _yes(result.checkpoint is not None and result.checkpoint.stand_in),
        "synthetic_data": _yes(result.data is not None and result.data.synthetic),
        "attempts": result.attempts,
        "started": result.started.isoformat(),
        "duration_s": result.duration_s,
        **{metric: _number(result.value(metric)) for metric in METRICS},
        "train_step_seconds_p95": _number(
            quantile(sorted(steps.values), 0.95) if steps and steps.values else None
        ),
    }


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _number(value: float | None) -> Cell:
    return "" if value is None else value
