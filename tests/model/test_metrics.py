from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from harness.analysis.gates.applying import check
from harness.analysis.stats.scoring import SCORINGS
from harness.analysis.stats.sheets import read_sheet
from harness.analysis.summary import summarize
from harness.model.measurements import measured
from harness.model.metrics import METRICS, Family, Metric, headlines, metrics_of
from harness.model.quality import Epoch, Score
from harness.model.results import Report
from harness.model.suite import Gate
from harness.output.builders.report import report_document
from harness.output.builders.report_parts.cells import columns
from harness.output.formats.known_formats import render
from harness.output.numbers import significant
from harness.store.reading import parse_strict
from harness.store.writing import to_json
from tests.factories import make_report, make_result


def test_every_quality_metric_has_a_scoring_and_no_other_has_one() -> None:
    assert tuple(SCORINGS) == metrics_of("quality")


def test_every_metric_belongs_to_one_family_and_has_a_label() -> None:
    families: list[Family] = list(get_args(Family))
    assert sorted(name for family in families for name in metrics_of(family)) == sorted(METRICS)
    assert all(metric.label for metric in METRICS.values())


def test_the_noise_of_a_machine_concerns_metrics_with_a_direction() -> None:
    assert all(METRICS[name].goal != "none" for name in metrics_of("time"))


def test_a_metric_in_percent_is_a_share() -> None:
    assert all(metric.unit == "ratio" for metric in METRICS.values() if metric.shown == "percent")


def test_the_metrics_compared_by_default_have_a_direction() -> None:
    for work in ("training", "tokenizing"):
        assert all(METRICS[name].goal != "none" for name in headlines(work))


def test_scores_are_kept_in_the_order_of_the_table() -> None:
    score = Score(scores={"eval_f1": 0.9, "eval_accuracy": 0.8})
    assert list(score.scores) == ["eval_accuracy", "eval_f1"]


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({"eval_f1": 90.0}, "eval_f1: 90 is impossible"),
        ({"f1": 0.9}, "'f1' is not one of the quality metrics"),
        ({"train_seconds": 0.9}, "'train_seconds' is not one of the quality metrics"),
        ({}, "at least 1 item"),
    ],
)
def test_an_epoch_has_possible_scores_of_known_metrics(scores: dict[str, float], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Epoch(epoch=1, train_loss=0.5, scores=scores)


def test_a_new_quality_metric_needs_its_row_and_its_scoring_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Metric("ratio", "max", "accuracy", label="hits", family="quality", headline="training", most=1)
    monkeypatch.setitem(METRICS, "eval_hits", row)
    monkeypatch.setitem(SCORINGS, "eval_hits", SCORINGS["eval_accuracy"])
    result = make_result()
    sheet = read_sheet(result)
    assert sheet is not None
    score = {"eval_hits": sheet.score("eval_hits")}
    epoch = result.epochs[0].model_copy(update={"scores": result.epochs[0].scores | score})
    measurements = (*result.measurements, measured("eval_hits", score["eval_hits"]))
    report = make_report([result.model_copy(update={"epochs": (epoch,), "measurements": measurements})])
    again = parse_strict(to_json(report.model_copy(update={"digest": None})), Report, Path("report.json"))
    assert again.results[0].epochs[0].scores["eval_hits"] == score["eval_hits"]
    shown = significant(score["eval_hits"])
    for name in ("markdown", "html"):
        text = render(report_document(again), name)
        assert "hits" in text
        assert shown in text
    table = columns(again, summarize(again))
    assert next(column.cells for column in table if column.title == "hits") == (shown,)
    judged = check(again, gates=[Gate(metric="eval_hits", min=0.1)])
    assert [case.value for case in judged.cases if case.metric == "eval_hits"] == [score["eval_hits"]]
