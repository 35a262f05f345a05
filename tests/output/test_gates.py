"""A check as a person reads it, held to its literal text, and as programs do."""

from __future__ import annotations

import csv
import io
from xml.etree import ElementTree as ET

import pytest

from harness.analysis.gates.cases import CaseKind, CaseVerdict, GateCase, GateReport, OnUnsure, Outcome
from harness.output.builders.gate_report import gates_document
from harness.output.document import failure_document
from harness.output.formats.github import MOST_OF_A_KIND
from harness.output.formats.known_formats import formats_of, render


def case(
    rule: str, verdict: CaseVerdict, variant: str = "dynamic", kind: CaseKind = "bound", reason: str = "why"
) -> GateCase:
    return GateCase(rule=rule, kind=kind, variant=variant, verdict=verdict, reason=reason)


def found(*cases: GateCase, outcome: Outcome = "fail", on_unsure: OnUnsure = "warn") -> GateReport:
    return GateReport(
        harness_version="0.1.0",
        suite="padding",
        report="run-2",
        baseline="run-1",
        outcome=outcome,
        on_unsure=on_unsure,
        allow_degenerate=False,
        allowed_mismatches=("torch",),
        noise={"train_seconds": 0.0312},
        cases=cases,
        notes=("a note",),
    )


MIXED = found(
    case("every trial completes", "passed", "static", "trials"),
    case("every trial completes", "passed", "dynamic", "trials"),
    case("eval_f1 >= 0.86", "passed"),
    case("eval_accuracy drop <= 0.02", "unsure", kind="drop"),
    case("eval_loss drop <= 0.1", "not comparable", kind="drop"),
    case("eval_f1 >= 0.9", "failed", reason="0.88, below 0.9"),
)


def test_the_table_names_what_is_wrong_first_and_counts_what_is_right() -> None:
    assert render(gates_document(MIXED), "table") == (
        "gates of padding, run run-2, against run run-1\n"
        "what the statistics cannot settle is unsure, and passes with a warning\n"
        "noise of the machine: train_seconds ±3.1 %\n"
        "allowed to differ: torch\n"
        "\n"
        "gate                        variant     verdict         found\n"
        "───────────────────────────────────────────────────────────────────────\n"
        "eval_f1 >= 0.9              dynamic     failed          0.88, below 0.9\n"
        "eval_loss drop <= 0.1       dynamic     not comparable  why\n"
        "eval_accuracy drop <= 0.02  dynamic     unsure          why\n"
        "eval_f1 >= 0.86             dynamic     passed          why\n"
        "every trial completes       2 variants  passed\n"
        "\n"
        "- a note\n"
    )


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (MIXED, "harness check: FAIL 6 gates, 1 failed, 1 unsure, 1 not comparable"),
        (found(case("a", "passed"), outcome="pass"), "harness check: PASS 1 gate, 0 failed, 0 unsure"),
        (
            found(case("a", "not comparable"), outcome="not comparable"),
            "harness check: FAIL 1 gate, 0 failed, 0 unsure, 1 not comparable",
        ),
    ],
)
def test_the_last_line_can_be_searched_for(report: GateReport, line: str) -> None:
    assert gates_document(report).verdict == (line,)


@pytest.mark.parametrize(("on_unsure", "failures", "skipped"), [("warn", "1", "1"), ("fail", "2", "0")])
def test_junit_has_one_case_a_gate(on_unsure: OnUnsure, failures: str, skipped: str) -> None:
    suite = ET.fromstring(render(gates_document(MIXED.model_copy(update={"on_unsure": on_unsure})), "junit"))[
        0
    ]
    counts = {name: suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "6", "failures": failures, "errors": "1", "skipped": skipped}


def test_csv_has_a_line_for_each_gate() -> None:
    rows = list(csv.DictReader(io.StringIO(render(gates_document(MIXED), "csv"))))
    assert [row["verdict"] for row in rows] == [each.verdict for each in MIXED.cases]
    assert {row["value"] for row in rows} == {""}


def test_annotations_stay_inside_their_limit() -> None:
    many = found(*(case(f"gate {number}", "failed") for number in range(50)))
    lines = render(gates_document(many), "github").splitlines()
    assert len(lines) == MOST_OF_A_KIND
    assert lines[-1].endswith("41 more are in the report")


@pytest.mark.parametrize("name", formats_of("check"))
def test_a_check_that_could_not_be_made_is_written_in_every_format(name: str) -> None:
    document = failure_document('say "no"\nreason', "do this", 3, "check", "check")
    text = render(document, name)
    assert text.endswith("\n")
    assert "no" in text
    if name == "junit":
        assert ET.fromstring(text)[0].attrib["errors"] == "1"
    if name == "csv":
        assert list(csv.reader(io.StringIO(text))) == [["error"], ['say "no"\\nreason']]
    assert document.verdict == ("harness check: FAIL nothing could be judged (exit code 3)",)


def test_a_check_is_a_page_that_begins_with_its_outcome() -> None:
    shown = render(gates_document(MIXED), "html")
    assert "<h1>FAIL: gates of padding, run run-2, against run run-1</h1>" in shown
    assert "<li>allowed to differ: torch</li>" not in shown
    assert "<p class=terms>allowed to differ: torch</p>" in shown
    assert "<td class=bad>failed<" in shown
    assert "harness check: FAIL 6 gates" in shown


def test_too_many_notes_of_a_check_are_counted() -> None:
    many = MIXED.model_copy(update={"notes": tuple(f"note {number:02}" for number in range(60))})
    text = render(gates_document(many), "table")
    shown = sum(f"note {number:02}" in text for number in range(60))
    assert 0 < shown < 60
    assert f"and {60 - shown} more: `--format json` has all" in text
