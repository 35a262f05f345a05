"""A document's benchmarks as pytest-benchmark's JSON, which `pytest-benchmark compare` reads.

The timed unit is an optimizer step after warm-up, or a pass over the data set if a trial only tokenizes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import Any, Final

from harness.analysis.summary import quantile
from harness.output.document import Benchmark, Document, Machine
from harness.output.formats.bencher import benchmark_name
from harness.output.safe_text import safe_text

# The version of pytest-benchmark whose layout this is.
LAYOUT: Final = "5.1.0"


def to_pytest_benchmark(document: Document) -> str:
    """The benchmarks that have times, and the machine they were measured on."""
    machine = document.machine
    assert machine is not None
    found = {
        "machine_info": _machine(machine),
        "commit_info": {"id": safe_text(machine.commit), "dirty": machine.dirty} if machine.commit else {},
        "benchmarks": [_benchmark(one, machine) for one in document.benchmarks if one.seconds],
        "datetime": machine.measured.isoformat(),
        "version": LAYOUT,
    }
    return json.dumps(found, indent=2, allow_nan=False) + "\n"


def _machine(machine: Machine) -> dict[str, Any]:
    return {
        "node": "",
        "processor": safe_text(machine.processor),
        "machine": safe_text(machine.architecture),
        "python_implementation": "CPython",
        "python_version": safe_text(machine.python),
        "system": safe_text(machine.system),
        "cpu": {"brand_raw": safe_text(machine.processor), "count": machine.logical_cores},
    }


def _benchmark(one: Benchmark, machine: Machine) -> dict[str, Any]:
    name = benchmark_name(one)
    return {
        "group": None,
        "name": name,
        "fullname": f"{one.timed}::{name}",
        "params": {axis: safe_text(value) for axis, value in one.params.items()},
        "param": None,
        "extra_info": dict(one.extra),
        "options": {"timer": "perf_counter", "warmup": machine.warmup_steps},
        "stats": _stats(one.seconds),
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
