"""A document's benchmarks as Bencher Metric Format, for tracking over time.

Format: https://bencher.dev/docs/reference/bencher-metric-format/ (a benchmark's name takes 1,024 characters).
"""

from __future__ import annotations

import json
from typing import Final

from harness.output.document import Benchmark, Document
from harness.output.safe_text import safe_text

LONGEST_NAME: Final = 900


def to_bmf(document: Document) -> str:
    """One benchmark for each variant that measured anything: the mean over seeds, bounded by the extremes."""
    found = {
        benchmark_name(one): {
            metric: {"value": mean, "lower_value": smallest, "upper_value": largest}
            for metric, (mean, smallest, largest) in one.measures.items()
        }
        for one in document.benchmarks
        if one.measures
    }
    return json.dumps(found, indent=2, allow_nan=False) + "\n"


def benchmark_name(benchmark: Benchmark) -> str:
    """`padding/dynamic`, or `padding/dynamic (stand-in, synthetic)`: safe to print."""
    name = safe_text(benchmark.name, LONGEST_NAME)
    return f"{name} ({', '.join(benchmark.marks)})" if benchmark.marks else name
