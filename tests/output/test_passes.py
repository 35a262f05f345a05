"""Work that a view of a report does once a variant or once a report, not once a trial: it is counted."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final

import pytest

from harness.analysis.parity import function_of, proofs
from harness.analysis.summary import summarize
from harness.analysis.training_verdicts import training_of, training_proofs
from harness.model.results import Report
from harness.model.values import PaddingStrategy
from harness.output.builders.report import report_document
from tests.factories import make_report, make_result, make_trial

VARIANTS: Final[tuple[PaddingStrategy, ...]] = ("static", "dynamic")
SEEDS = 5


def calls_in(work: Callable[[], object]) -> Counter[CodeType]:
    """How often each function of Python is called in this work."""
    calls: Counter[CodeType] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            calls[frame.f_code] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


@pytest.fixture
def report() -> Report:
    results = [make_result(make_trial(name, seed)) for name in VARIANTS for seed in range(SEEDS)]
    first = results[0]
    assert first.checkpoint is not None
    function = first.model_copy(update={"trial": function_of(first.trial)})
    training = first.model_copy(update={"trial": training_of(first.trial, first.checkpoint.model_type)})
    return make_report(results, proofs=(function,), training_proofs=(training,))


def test_a_report_is_summarized_once(report: Report) -> None:
    assert calls_in(lambda: report_document(report))[summarize.__code__] == 1


def test_proofs_are_looked_up_once_a_variant(report: Report) -> None:
    static = report.results[0].trial.variant_id
    assert proofs(report) == {static: report.proofs[0]}
    assert training_proofs(report) == {static: report.training_proofs[0]}
    assert calls_in(lambda: proofs(report))[function_of.__code__] == len(VARIANTS) + 1
    assert calls_in(lambda: training_proofs(report))[training_of.__code__] == len(VARIANTS)
