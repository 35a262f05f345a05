"""A report as pytest-benchmark's JSON, so that `pytest-benchmark compare` reads it: one benchmark a variant.

What is timed is an optimizer step after warm-up, or a pass over the data set where a trial only tokenises, of
all the variant's completed trials.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import Any, Final

from harness.analysis.naming import axes
from harness.analysis.rows import Row
from harness.analysis.summary import quantile, summarize
from harness.model.metrics import METRICS, headlines
from harness.model.results import Report, TrialResult
from harness.model.trial import Trial
from harness.output.formats.bencher import benchmark_name
from harness.output.safe_text import safe_text

# The version of pytest-benchmark whose layout this is.
LAYOUT: Final = "5.1.0"


def to_pytest_benchmark(report: Report) -> str:
    """The document; variants without a step time are left out, as are those with mixed inputs."""
    seconds = {variant: _seconds(results) for variant, results in report.variants().items()}
    document = {
        "machine_info": _machine(report),
        "commit_info": _commit(report),
        "benchmarks": [
            _benchmark(report, row, seconds[row.variant])
            for row in summarize(report)
            if seconds[row.variant] and not row.mixed
        ],
        "datetime": report.created.isoformat(),
        "version": LAYOUT,
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _timed(trial: Trial) -> str:
    return "train_step_seconds" if trial.tokenization is None else "tokenize_seconds"


def _seconds(results: Sequence[TrialResult]) -> list[float]:
    return [
        value
        for result in results
        if result.status == "completed" and (timed := result.measurement(_timed(result.trial))) is not None
        for value in timed.values
    ]


def _machine(report: Report) -> dict[str, Any]:
    where = report.environment
    return {
        "node": "",
        "processor": safe_text(where.cpu.model),
        "machine": safe_text(where.cpu.architecture),
        "python_implementation": "CPython",
        "python_version": safe_text(where.python),
        "system": safe_text(where.system),
        "cpu": {"brand_raw": safe_text(where.cpu.model), "count": where.cpu.logical_cores},
    }


def _commit(report: Report) -> dict[str, Any]:
    git = report.environment.git
    if git is None:
        return {}
    return {"id": safe_text(git.commit), "dirty": git.dirty}


def _benchmark(report: Report, row: Row, seconds: Sequence[float]) -> dict[str, Any]:
    name = benchmark_name(report, row)
    return {
        "group": None,
        "name": name,
        "fullname": f"{_timed(row.trial)}::{name}",
        "params": {axis: safe_text(value) for axis, value in axes(row.trial).items()},
        "param": None,
        "extra_info": _extra(row),
        "options": {"timer": "perf_counter", "warmup": report.suite.measure.warmup_steps},
        "stats": _stats(seconds),
    }


def _extra(row: Row) -> dict[str, Any]:
    return {
        "seeds": list(row.seeds),
        **{
            metric: found.mean if (found := row.quality.get(metric)) else None
            for metric in headlines("training")
            if METRICS[metric].family == "quality"
        },
        "train_real_tokens_per_second": row.real_tokens_per_second,
        **({"tokenize_tokens_per_second": row.speed} if row.tokenizing else {}),
        "degenerate": row.degenerate,
        "stand_in": row.stand_in is not None,
        "synthetic_data": row.synthetic,
    }


def _stats(seconds: Sequence[float]) -> dict[str, Any]:
    """The fields of pytest-benchmark's `Stats`, with its definitions of outliers."""
    ordered = sorted(seconds)
    mean = fmean(ordered)
    spread = stdev(ordered) if len(ordered) > 1 else 0.0
    q1, q3 = quantile(ordered, 0.25), quantile(ordered, 0.75)
    inside = [second for second in ordered if q1 - 1.5 * (q3 - q1) <= second <= q3 + 1.5 * (q3 - q1)]
    beyond_spread = sum(not mean - spread <= second <= mean + spread for second in ordered)
    beyond_iqr = len(ordered) - len(inside)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": spread,
        "rounds": len(ordered),
        "median": median(ordered),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond_iqr,
        "stddev_outliers": beyond_spread,
        "outliers": f"{beyond_spread};{beyond_iqr}",
        "ld15iqr": inside[0],
        "hd15iqr": inside[-1],
        "ops": 1 / mean if mean else 0.0,
        "total": sum(ordered),
        "data": list(seconds),
        "iterations": 1,
    }
