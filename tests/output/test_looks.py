"""How the verdicts of a run until decided are printed."""

from __future__ import annotations

from typing import Any

import pytest

from harness.analysis.checks.look_record import look_contradictions
from harness.analysis.gates.applying import check
from harness.model.looks import End, LookRow, Looks
from harness.output.builders.report import report_document
from harness.output.builders.report_parts.answer import looks_line, looks_table
from harness.output.formats.known_formats import render
from harness.output.numbers import NOTHING
from tests.factories import make_report


def looks(ended: End = "most seeds", seeds: tuple[int, ...] = (3, 4)) -> Looks:
    same = LookRow(
        variant="tiny", candidate="dynamic", metric="eval_accuracy", verdict="same", seeds=3, effect=0.0
    )
    left = LookRow(
        variant="tiny",
        candidate="dynamic",
        metric="train_real_tokens_per_second",
        verdict="unsure",
        seeds=4,
        effect=1.02,
        p=0.4,
        p_holm=0.8,
        next_step="about 9 seeds find a difference of x1.05",
    )
    return Looks(
        by="padding",
        baseline="static",
        margins={"eval_accuracy": 0.02},
        alpha=0.05,
        boundary="Pocock-type spending (Lan-DeMets)",
        most_seeds=4,
        seeds=seeds,
        ended=ended,
        rows=(same, left) if seeds else (),
    )


def test_one_line_has_the_looks_the_boundary_and_the_end() -> None:
    assert looks_line(looks()) == (
        "until decided: padding against static: 1 of 2 rows decided, 1 open; 2 looks at 3, 4 of at most 4 "
        "seeds, Pocock-type spending (Lan-DeMets) at 5 %; the last look was taken"
    )
    assert looks_line(looks("budget")).endswith("stopped by --budget; the same command goes on")
    assert looks_line(looks("interrupted", ())).startswith(
        "until decided: 0 of 0 rows decided, 0 open; 0 looks,"
    )


def test_the_table_has_every_row_and_advice_for_the_open_ones() -> None:
    table = looks_table(looks())
    assert [column.cells for column in table.columns] == [
        ("dynamic", "dynamic"),
        ("accuracy", "real tokens/s"),
        ("same", "open"),
        ("3", "4"),
        ("+0.0 points", "1.02 x"),
        (NOTHING, "0.800"),
    ]
    assert table.notes == (
        "same: inside accuracy ±2 points",
        "open: tiny, dynamic, real tokens/s: about 9 seeds find a difference of x1.05",
        "speeds can be the same only inside the noise band of the machine: harness calibrate",
    )


def test_every_text_format_has_the_line_and_the_open_rows() -> None:
    document = report_document(make_report(looks=looks()))
    for name in ("table", "markdown", "html"):
        text = " ".join(render(document, name).split())
        assert "1 of 2 rows decided, 1 open" in text
        assert "open: tiny, dynamic, real tokens/s" in text
    assert "until decided" not in render(report_document(make_report()), "markdown")


def test_a_run_that_ended_with_an_open_row_had_no_other_to_decide() -> None:
    assert looks_line(looks("decided")).endswith("at 5 %; no other row can be decided")
    assert "1 of 2 rows decided" in looks_line(looks("decided"))
    none = looks().model_copy(update={"margins": {}})
    assert not any(note.startswith("same: inside") for note in looks_table(none).notes)


@pytest.mark.parametrize(
    ("place", "changes", "told"),
    [
        (1, {"verdict": "better"}, "is stored as better, its p is 0.4, and 0.05 is the limit"),
        (1, {"verdict": "worse", "p": None}, "is stored as worse, its p is none, and 0.05 is the limit"),
        (1, {"seeds": 9}, "is stored as unsure at 9 seeds, the last look was at 4"),
        (1, {"p_holm": 0.01}, "is stored as unsure with p 0.01 over all rows, its own p is 0.4"),
        (0, {"effect": 0.3}, "is stored as same, its effect of 0.3 is outside of the margin of 0.02"),
        (0, {"verdict": "worse", "effect": 0.1, "p": 0.01}, "is stored as worse, its effect is 0.1"),
    ],
)
def test_a_verdict_that_its_own_numbers_contradict_is_named_and_fails_a_check(
    place: int, changes: dict[str, Any], told: str
) -> None:
    honest = looks()
    rows = list(honest.rows)
    rows[place] = rows[place].model_copy(update=changes)
    report = make_report(looks=honest.model_copy(update={"rows": tuple(rows)}))
    (case,) = (case for case in check(report, gates=[]).cases if case.kind == "stored")
    assert (case.variant, case.verdict, told in case.reason) == ("looks", "failed", True)
    assert told in render(report_document(report, verify=True), "markdown").replace("\\", "")


def test_a_run_that_ended_as_decided_has_no_open_row() -> None:
    (found,) = look_contradictions(looks("decided"))
    assert str(found) == "the run is stored as decided, 1 of 2 rows are unsure"
    assert list(look_contradictions(looks())) == []
