"""Results in a notebook: an isolated page, and data frames whose numbers are numbers."""

from __future__ import annotations

import html
import sys

import pytest

from harness.analysis.comparison.comparing import compare
from harness.analysis.gates.applying import check
from harness.errors import UnavailableError
from harness.model.results import Report
from harness.output.builders.report import report_document
from harness.output.formats.known_formats import render
from tests.factories import make_report, make_result
from tests.output.hostile import HOSTILE, hostile_report

pandas = pytest.importorskip("pandas")


def test_a_frame_of_trials_has_numbers_and_one_row_a_trial() -> None:
    report = make_report()
    frame = report.to_frame()
    assert list(frame["trial"]) == [result.trial.id for result in report.results]
    assert frame["eval_f1"].tolist() == [result.value("eval_f1") for result in report.results]
    assert frame["seed"].dtype.kind == "i"
    assert frame["duration_s"].dtype.kind == "f"


def test_a_frame_of_steps_has_every_timed_step() -> None:
    report = make_report()
    frame = report.steps_frame()
    for result in report.results:
        found = result.measurement("train_step_seconds")
        assert found is not None
        assert tuple(frame[frame["trial"] == result.trial.id]["train_step_seconds"]) == found.values


def test_a_frame_of_predictions_gives_the_stored_accuracy() -> None:
    report = make_report()
    frame = report.predictions_frame()
    for result in report.results:
        rows = frame[frame["trial"] == result.trial.id]
        assert (rows["label"] == rows["predicted"]).mean() == pytest.approx(result.value("eval_accuracy"))


def test_a_trial_without_measurements_has_no_steps_and_no_predictions() -> None:
    report = make_report([make_result(status="failed")])
    assert len(report.to_frame()) == 1
    assert len(report.steps_frame()) == len(report.predictions_frame()) == 0


def test_without_pandas_it_is_an_arrow_table(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = make_report().to_frame()
    assert type(table).__module__.startswith("pyarrow")
    assert table.column("eval_f1").to_pylist() == make_report().to_frame().column("eval_f1").to_pylist()


def test_without_both_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnavailableError, match="extra `train`"):
        make_report().to_frame()


def test_the_page_of_each_result_is_in_a_frame_that_runs_nothing() -> None:
    report = make_report()
    for result in (report, compare([report, report]), check(report, gates=[])):
        shown = result._repr_html_()
        assert shown.startswith("<iframe sandbox srcdoc=")
        assert shown.count("<") == 2
    page = report._repr_html_().partition('srcdoc="')[2].partition('"')[0]
    assert html.unescape(page) == render(report_document(report), "html")


@pytest.mark.parametrize("text", HOSTILE[8:9])
def test_a_hostile_name_does_not_leave_the_frame(text: str) -> None:
    report: Report = hostile_report(text)
    assert report._repr_html_().count("<") == 2
