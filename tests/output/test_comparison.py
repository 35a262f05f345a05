from __future__ import annotations

import csv
import io
from xml.etree import ElementTree as ET

from harness.analysis.comparison.comparing import compare
from harness.analysis.comparison.models import Comparison
from harness.analysis.stats.ratios import RunVariance
from harness.model.arguments import Train
from harness.model.results import Report
from harness.output.builders.comparison_page import comparison_document
from harness.output.builders.explanation import MOST_NOTES
from harness.output.formats.known_formats import render
from harness.output.formats.terminal import to_table
from tests.factories import make_report, make_result, make_trial

CALIBRATED = {"train_real_tokens_per_second": RunVariance(0.001**2, 9)}


def _report(run: str, accuracy: float, speed: float) -> Report:
    made = [
        make_result(
            make_trial(padding, seed), accuracy=accuracy, examples=408, samples_per_second=speed + seed
        )
        for seed in range(3)
        for padding in ("static", "dynamic")
    ]
    return make_report(made, run=run)


def _compared() -> Comparison:
    reports = [_report("old", 0.90, 100.0), _report("new", 0.80, 200.0)]
    return compare(reports, run_variance=CALIBRATED, explain=True)


def test_a_person_reads_the_words_first_and_then_what_they_rest_on() -> None:
    reports = [_report("old", 0.90, 100.0), _report("new", 0.80, 200.0)]
    compared = compare(reports, run_variance=CALIBRATED)
    assert to_table(comparison_document(compared)) == (
        "new against old\n"
        "verdicts at 5 %, adjusted by Holm over 6 tests; quality variances from 10,000 resamples\n"
        "same: inside accuracy ±2 points, F1 ±2 points, by two one-sided tests at 5 %\n"
        "\n"
        "                                                                           p        min.\n"
        "variant  metric         verdict       change                interval  (Holm)  detectable  baseline"
        "  candidate\n"
        "──────────────────────────────────────────────────────────────────────────────────────────────────"
        "───────────\n"
        "static   accuracy       worse    -8.7 points  -12.1 to -5.2 (98.3 %)   0.003                88.7 %"
        "     80.1 %\n"
        "static   F1             worse    -7.1 points  -10.1 to -4.1 (98.8 %)   0.003                91.4 %"
        "     84.3 %\n"
        "static   real tokens/s  better        2.00 x   1.92 to 2.08 (99.2 %)  <0.001                 5.36k"
        "      10.7k\n"
        "dynamic  accuracy       worse    -8.7 points  -12.1 to -5.2 (98.3 %)   0.003                88.7 %"
        "     80.1 %\n"
        "dynamic  F1             worse    -7.1 points  -10.1 to -4.1 (98.8 %)   0.003                91.4 %"
        "     84.3 %\n"
        "dynamic  real tokens/s  better        2.00 x   1.92 to 2.08 (99.2 %)  <0.001                 5.36k"
        "      10.7k\n"
    )


def test_what_is_worse_fails_as_a_test_case_and_as_an_annotation() -> None:
    compared = _compared()
    suite = ET.fromstring(render(comparison_document(compared), "junit"))[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("6", "4", "0")
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed[0] == "static eval_accuracy, new against old"
    annotations = render(comparison_document(compared), "github").splitlines()
    assert len(annotations) == 4
    assert annotations[0].startswith(
        "::error title=static eval_accuracy%2C new against old::worse: -8.7 points"
    )


def test_at_eighty_columns_no_number_is_broken() -> None:
    shown = to_table(comparison_document(_compared()), 80)
    assert all(len(line) <= 80 for line in shown.splitlines())
    for column in ("worse", "2.00 x", "-12.1 to -5.2 (98.3 %)"):
        assert column in shown
    assert "left out at this width: p (Holm), baseline, candidate" in shown


def test_too_many_notes_say_how_many_are_left_out() -> None:
    made = [
        make_result(make_trial(train=Train(learning_rate=(number + 1) * 1e-6)), examples=40)
        for number in range(MOST_NOTES + 5)
    ]
    lost = [
        make_result(one.trial, status="failed", reason=f"reason {at}") if at else one
        for at, one in enumerate(made)
    ]
    shown = to_table(
        comparison_document(compare([make_report(made, run="old"), make_report(lost, run="new")]))
    )
    assert "lines more: `--format json` has all" in shown


def test_csv_holds_raw_numbers_and_every_row() -> None:
    compared = _compared()
    rows = list(csv.DictReader(io.StringIO(render(comparison_document(compared), "csv"))))
    assert [row["verdict"] for row in rows] == [each.verdict for each in compared.rows]
    assert float(rows[0]["effect"]) == compared.rows[0].effect
    assert rows[0]["p"] != ""


def test_json_is_the_comparison_itself() -> None:
    compared = _compared()
    assert Comparison.model_validate_json(render(comparison_document(compared), "json")) == compared


def test_markdown_holds_the_table_and_what_differs() -> None:
    shown = render(comparison_document(_compared()), "markdown")
    assert "| variant | metric | verdict | change |" in shown
    assert "## What differs" in shown
    assert "## Flipped examples" in shown
    assert "| now wrong |" in shown


def test_a_comparison_is_a_page_with_its_table_and_what_differs() -> None:
    shown = render(comparison_document(_compared()), "html")
    assert "<h1>new against old</h1>" in shown
    assert "<td class=bad>worse<" in shown
    assert "<td class=good>better<" in shown
    assert "<h2>What differs</h2>" in shown
    assert "<script" not in shown
