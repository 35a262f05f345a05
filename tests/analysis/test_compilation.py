"""Compilation is set against the eager row of the same settings, and recompilation is remarked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.checks.verification import contradictions
from harness.analysis.compilation import BreakEven, break_even, recompiled
from harness.analysis.summary import summarize
from harness.model.arguments import Train
from harness.model.measurements import Measurement, measured
from harness.model.results import Report, TrialResult
from harness.model.trial import Trial
from harness.model.values import Compile
from harness.output.builders.report import report_document
from harness.output.builders.report_parts.notes import notes
from tests.factories import make_probe, make_report, make_result, make_suite, make_trial


def timed(step: float, *more: Measurement) -> tuple[Measurement, ...]:
    return (
        measured("train_step_seconds", *(step for _ in range(9)), 30.0),
        measured("train_real_tokens_per_second", 100 / step),
        *more,
    )


def result(trial: Trial, step: float, seconds: float = 0.0, graphs: int = 0, **fields: Any) -> TrialResult:
    counts = (
        measured("compile_seconds", seconds),
        measured("recompiles", graphs),
    )
    return make_result(trial, measurements=timed(step, *(counts if seconds else ())), **fields)


@pytest.mark.parametrize(("graphs", "found"), [(0, True), (2, False)])
def test_what_is_compiled_again_within_a_step_is_no_phase_apart_from_it(graphs: int, found: bool) -> None:
    trial, whole = make_trial(compile=Compile(mode="default")), make_result().measurements
    more = (measured("compile_seconds", 90.0), measured("recompiles", graphs))
    made = make_result(trial, measurements=(*whole, *more), duration_s=60.0)
    assert any("phases of" in str(each) for each in contradictions(made, 10)) == found


def report(*results: TrialResult) -> Report:
    return make_report(list(results), suite=make_suite())


def compiled(padding: str = "static", seed: int = 0, **options: Any) -> Trial:
    return make_trial(padding, seed, compile=Compile(mode="default", **options))  # type: ignore[arg-type] # by name


def found(of: Report) -> list[BreakEven]:
    return list(break_even(of, summarize(of)))


def test_compilation_is_repaid_after_its_seconds_over_those_saved_a_step() -> None:
    (one,) = found(report(result(make_trial("static"), 0.5), result(compiled(), 0.4, 60.05)))
    assert (one.row.trial, one.compile_seconds, one.steps) == (compiled(), 60.05, 601)


def test_the_median_over_seeds_counts() -> None:
    results = [
        each
        for seed, seconds in ((0, 10.0), (1, 60.0), (2, 90.0))
        for each in (result(make_trial("static", seed), 0.5), result(compiled(seed=seed), 0.25, seconds))
    ]
    (one,) = found(report(*results))
    assert (one.compile_seconds, one.steps) == (60.0, 240)


def test_slower_steps_never_repay_it() -> None:
    of = report(result(make_trial("static"), 0.4), result(compiled(), 0.5, 60.0))
    assert [one.steps for one in found(of)] == [None]
    assert any(
        "60 s of compilation never repaid" in note or "1 min 00 s of compilation never repaid" in note
        for note in notes(of, summarize(of))
    )


def test_a_break_even_of_noisy_rows_is_marked() -> None:
    calm = [result(make_trial("dynamic", seed), 0.5, probe=make_probe()) for seed in range(3)]
    slow = make_probe(0.4, 0.4)
    of = report(
        *calm, result(make_trial("static"), 0.5, probe=slow), result(compiled(), 0.4, 9.0, probe=make_probe())
    )
    assert [one.noisy for one in found(of)] == [True]
    (note,) = (note for note in notes(of, summarize(of)) if note.startswith("break-even"))
    assert note.endswith("noisy, so that another run may differ")


@given(st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0.1, 1e4))
def test_break_even_is_the_first_step_at_which_the_compiled_run_is_ahead(
    eager: float, step: float, seconds: float
) -> None:
    row = summarize(report(result(compiled(), 0.4, 1.0)))[0]
    steps = BreakEven(row, seconds, step, eager).steps
    if steps is None:
        assert step >= eager
    else:
        assert seconds <= steps * (eager - step) * (1 + 1e-9)
        assert (steps - 1) * (eager - step) < seconds * (1 + 1e-9)


@pytest.mark.parametrize(
    "others",
    [
        (),
        (result(make_trial("dynamic"), 0.5),),
        (result(make_trial("static", engine="loop"), 0.5),),
        (result(make_trial("static"), 0.5, concurrent=2),),
    ],
    ids=["nothing", "another padding", "another engine", "at once"],
)
def test_only_the_eager_row_of_the_same_settings_is_compared(others: tuple[TrialResult, ...]) -> None:
    assert found(report(*others, result(compiled(), 0.4, 60.0))) == []


def test_recompilation_in_timed_steps_is_a_remark_and_a_note() -> None:
    of = report(
        result(make_trial("dynamic"), 0.5),
        result(compiled("dynamic", dynamic=False), 0.4, 60.0, graphs=5),
        result(compiled("dynamic"), 0.4, 60.0),
    )
    rows = summarize(of)
    assert list(recompiled(of, rows).values()) == [5]
    remarks = {column.title: column.cells for column in report_document(of).tables[0].columns}["remarks"]
    assert [("recompiled 5 times while timed" in cell) for cell in remarks] == [False, True, False]
    assert sum(note.startswith("recompiled: ") for note in notes(of, rows)) == 1


def test_a_report_without_compiled_trials_has_no_word_about_it() -> None:
    of = report(result(make_trial("static"), 0.5), result(make_trial("dynamic"), 0.4))
    assert not [note for note in notes(of, summarize(of)) if "compil" in note]


class Passes(tuple[TrialResult, ...]):
    """Results that count how often they are read through."""

    times = 0

    def __iter__(self) -> Iterator[TrialResult]:
        type(self).times += 1
        return super().__iter__()


def passes(variants: int) -> int:
    """Return how often a document of so many variants reads the results of its report."""
    trials = [make_trial(train=Train(learning_rate=(at + 1) * 1e-6)) for at in range(variants)]
    report = make_report([make_result(trial) for trial in trials])
    Passes.times = 0
    report_document(report.model_copy(update={"results": Passes(report.results)}))
    return Passes.times


def test_a_document_reads_the_results_as_often_whatever_the_number_of_variants() -> None:
    assert passes(3) == passes(12)
