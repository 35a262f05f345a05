"""How the verdicts of a run until decided are printed."""

from __future__ import annotations

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
