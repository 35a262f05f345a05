from __future__ import annotations

from typing import Any

import pytest

from harness.analysis.summary import summarize
from harness.model.arguments import Train
from harness.model.results import Report
from harness.output.builders.report_parts.arranging import sorted_rows
from harness.output.builders.report_parts.cells import columns
from harness.output.builders.report_parts.notes import notes
from harness.output.builders.report_parts.remarks import constants
from tests.factories import make_checkpoint, make_report, make_result, make_trial
from tests.output.test_tokenizing import report_of


def _two_speeds() -> Report:
    return make_report(
        [
            make_result(make_trial("static"), samples_per_second=20.0, accuracy=0.9),
            make_result(make_trial("dynamic"), samples_per_second=30.0, accuracy=0.8),
            make_result(make_trial("bucketed"), status="failed"),
        ]
    )


@pytest.mark.parametrize(
    ("column", "order"),
    [
        ("accuracy", ["static", "dynamic", "bucketed"]),
        ("F1", ["static", "dynamic", "bucketed"]),
        ("variant", ["bucketed", "dynamic", "static"]),
        ("status", ["static", "dynamic", "bucketed"]),
    ],
)
def test_rows_are_sorted_best_first_and_unmeasured_last(column: str, order: list[str]) -> None:
    report = _two_speeds()
    rows = summarize(report)
    assert [row.label for row in sorted_rows(rows, column, columns(report, rows))] == order


@pytest.mark.parametrize("report", [_two_speeds(), report_of()], ids=["training", "tokenizing"])
def test_each_column_of_different_numbers_sorts_them_whatever_the_order_before(report: Report) -> None:
    rows = summarize(report)
    shown = columns(report, rows)
    different = [one for one in shown if one.numeric and len(set(one.cells)) == len(rows)]
    assert "real tokens/s" in [column.title for column in different]
    for column in different:
        assert sorted_rows(rows, column.title, shown) == sorted_rows(rows[::-1], column.title, shown)


def test_the_rate_of_tokenizing_sorts_the_fastest_first() -> None:
    rows = summarize(report_of())
    ordered = sorted_rows(rows, "real tokens/s", columns(report_of(), rows))
    assert [row.label for row in ordered] == ["whole fast", "map_batched(num_proc=2) fast", "whole slow"]


def test_settings_that_a_training_ignores_are_no_settings_of_the_report() -> None:
    def words(**train: Any) -> str:
        return constants(make_report([make_result(make_trial(train=Train(**train)))]))

    assert ", 3 epochs, batch 8, " in words()
    assert ", max_steps=16, batch 8, " in words(max_steps=16)
    assert "epoch" not in words(max_steps=16)
    assert "warmup" not in words(warmup_steps=5, lr_scheduler_type="constant")


def test_several_stand_ins_share_a_line() -> None:
    results = [
        make_result(
            make_trial(checkpoint=name),
            checkpoint=make_checkpoint(requested=name, name=f"tiny-{name}", stand_in=True),
        )
        for name in ("bert", "roberta")
    ]
    report = make_report(results)
    found = [note for note in notes(report, summarize(report)) if note.startswith("stand-in")]
    assert found == [
        "stand-ins: tiny-bert in place of bert, tiny-roberta in place of roberta; "
        "their numbers are not those of the checkpoints they replace"
    ]
