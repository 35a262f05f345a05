"""How comparing two reports grows with their trials; a thousand are promised in under 5 s and 1 GB."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.analysis.comparison import compare
from harness.results.models import Report
from harness.trial import Train
from tests.factories import make_report, make_result, make_trial

EXAMPLES = 408


@lru_cache(maxsize=2)
def _report(trials: int, seeds: int, accuracy: float) -> Report:
    return make_report(
        [
            make_result(
                make_trial(seed=seed, train=Train(learning_rate=(variant + 1) * 1e-6)),
                accuracy=accuracy,
                examples=EXAMPLES,
            )
            for variant in range(trials // seeds)
            for seed in range(seeds)
        ],
        run=f"{accuracy}",
    )


@pytest.mark.parametrize("seeds", [1, 5])
@pytest.mark.parametrize("trials", [10, 100, 1_000, 10_000])
def test_comparing_two_reports(benchmark: BenchmarkFixture, trials: int, seeds: int) -> None:
    reports = [_report(trials, seeds, accuracy) for accuracy in (0.85, 0.86)]
    rounds = 3 if trials <= 1_000 else 1
    compared = benchmark.pedantic(lambda: compare(reports), rounds=rounds)  # type: ignore[no-untyped-call]  # the library's own
    assert len(compared.rows) == 3 * (trials // seeds)
    benchmark.extra_info["peak_rss_mib"] = peak_resident_bytes() / 2**20


def test_a_thousand_trials_stay_under_a_gigabyte() -> None:
    """Memory only, so that a slow day fails nothing; in a process of its own, so that it alone counts."""
    code = (
        "from harness.analysis.comparison import compare\n"
        "from tests.benchmarks.test_compare_growth import _report, peak_resident_bytes\n"
        "assert len(compare([_report(1000, 1, 0.85), _report(1000, 1, 0.86)]).rows) == 3000\n"
        "print(peak_resident_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1e9


def peak_resident_bytes() -> int:
    """The peak of this process alone: on Linux `ru_maxrss` counts what its parent had when forking, too."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
