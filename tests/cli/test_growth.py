"""Work grows with the trials of a report, not with their square: counted in calls, which no load changes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

from harness.analysis.checks.verification import verified
from harness.analysis.comparison.comparing import compare
from harness.analysis.gates.applying import check
from harness.model.arguments import Train
from harness.model.results import Report, TrialResult
from harness.model.suite import Gate
from harness.output.builders.comparison_page import comparison_document
from harness.output.builders.gate_report import gates_document
from harness.output.builders.report import report_document
from harness.output.formats.known_formats import render
from harness.store.large_report import read_large
from harness.store.report_file import report_file
from tests.benchmarks.large import large_results
from tests.factories import make_report, make_result, make_trial

SEEDS: Final = 5
FEW: Final = 100
MANY: Final = 400
# Four times the trials; what a report has once, such as its suite, makes it less.
MOST_GROWTH: Final = 4.2


def results(trials: int, accuracy: float) -> Sequence[TrialResult]:
    first = [make_result(make_trial(seed=seed), accuracy=accuracy) for seed in range(SEEDS)]
    return [
        found.model_copy(
            update={"trial": make_trial(seed=found.trial.seed, train=Train(learning_rate=(rate + 1) * 1e-6))}
        )
        for rate in range(trials // SEEDS)
        for found in first
    ]


@lru_cache
def report_of(trials: int, accuracy: float = 0.85) -> Report:
    return make_report(results(trials, accuracy), run=f"{accuracy:g}")


def calls(work: Callable[[], object]) -> int:
    """Return how many functions were called, those in C among them."""
    count = 0

    def tell(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tell)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def table(report: Report) -> object:
    return render(report_document(report), "table")


def page(report: Report) -> object:
    return render(report_document(report), "html")


def checked(report: Report) -> object:
    gates = [Gate(metric="eval_f1", min=0.5)]
    return render(gates_document(check(report, gates=gates)), "table")


def against(report: Report) -> object:
    gates = [Gate(metric="eval_accuracy", max_drop=0.02)]
    return check(report, gates=gates, baseline=report_of(len(report.results), 0.9))


def variants(report: Report) -> object:
    found = compare([report], by="train.learning_rate")
    return render(comparison_document(found, [("it", report)]), "table")


def two(report: Report) -> object:
    other = report_of(len(report.results), 0.9)
    found = compare([report, other])
    return render(comparison_document(found, [("one", report), ("other", other)]), "table")


@pytest.mark.parametrize("work", [table, page, checked, against, variants, two])
def test_work_grows_with_the_trials(work: Callable[[Report], object]) -> None:
    few, many = report_of(FEW), report_of(MANY)
    # Imports and caches are for the first call alone.
    work(report_of(SEEDS * 2))
    assert calls(lambda: work(many)) < MOST_GROWTH * calls(lambda: work(few))


def test_reading_grows_with_the_trials(tmp_path: Path) -> None:
    def written(trials: int) -> Path:
        path = tmp_path / f"{trials}.json"
        with report_file(make_report([]), results(trials, 0.85), tmp_path) as made:
            path.write_bytes(b"".join(made.chunks()))
        return path

    few, many = written(FEW), written(MANY)
    assert read_large(few, least=0) is not None
    assert calls(lambda: read_large(many, least=0)) < MOST_GROWTH * calls(lambda: read_large(few, least=0))


def test_no_trial_of_the_report_that_is_timed_contradicts_itself() -> None:
    # Contradictions would save the time of comparing.
    found = make_report(list(large_results(2 * SEEDS)))
    assert set(verified(found.results, found.suite.measure.warmup_steps)) == {()}
