"""A report as Bencher Metric Format, for tracking over time.

Format: https://bencher.dev/docs/reference/bencher-metric-format/ (a benchmark's name takes 1,024 characters).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean
from typing import Final

from harness.analysis.rows import Row
from harness.analysis.summary import summarize
from harness.model.metrics import METRICS
from harness.model.results import Report, TrialResult
from harness.output.safe_text import safe_text

LONGEST_NAME: Final = 900


def to_bmf(report: Report) -> str:
    """One benchmark a variant with a completed trial; value is the mean over seeds, bounds are extremes.

    Quality leaves degenerate trials out, and a variant whose trials have different inputs is left out. The
    name of a stand-in is marked, so that its line is its own.
    """
    variants = report.variants()
    document = {
        benchmark_name(report, row): measures
        for row in summarize(report)
        if not row.mixed and (measures := _measures(variants[row.variant]))
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def benchmark_name(report: Report, row: Row) -> str:
    """`padding/dynamic`, or `padding/dynamic (stand-in, synthetic)`: safe to print."""
    marks = [mark for mark, holds in (("stand-in", row.stand_in), ("synthetic", row.synthetic)) if holds]
    name = safe_text(f"{report.suite.name}/{row.label}", LONGEST_NAME)
    return f"{name} ({', '.join(marks)})" if marks else name


def _measures(results: Sequence[TrialResult]) -> dict[str, dict[str, float]]:
    measures = {}
    completed = [result for result in results if result.status == "completed"]
    for metric, meaning in METRICS.items():
        counted = [result for result in completed if result.sound or meaning.family != "quality"]
        found = [value for result in counted if (value := result.value(metric)) is not None]
        if found:
            measures[metric] = {"value": fmean(found), "lower_value": min(found), "upper_value": max(found)}
    return measures
