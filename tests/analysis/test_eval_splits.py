"""Several evaluation splits: the scores of each have names of their own, from the suite to the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.analysis.checks.verification import contradictions
from harness.analysis.comparison.comparing import compare
from harness.analysis.gates.applying import check
from harness.analysis.scored_again import compare_scores, to_score, with_scores
from harness.analysis.summary import summarize
from harness.errors import InvalidInputError
from harness.model.arrays import Logits
from harness.model.measurements import measured
from harness.model.metrics import METRICS, is_metric, metric_named, on_split, score_and_split
from harness.model.quality import Predictions, Score, Scores
from harness.model.results import Report, TrialResult
from harness.model.tasks import Task, quality_headlines, scores_of
from harness.output.builders.comparison_page import comparison_document
from harness.output.builders.report import report_document
from harness.output.formats.known_formats import render
from harness.output.notebook import _predictions
from harness.store.reading import load_report
from harness.store.writing import to_json
from harness.suite.gate_files import parse_gate
from harness.suite.suite_file import parse_suite
from tests.factories import make_data, make_predictions, make_report, make_result, make_suite, make_trial

TASK = Task(eval_split=("validation", "test"))
FURTHER = "eval_test_accuracy"
SUITE = """
name: splits
task: {{dataset: owner/pairs, text: [a, b], eval_split: {splits}}}
matrix: {{checkpoint: [embedded/bert-uncased], padding: [dynamic]}}
"""


def result(seed: int, accuracy: float = 0.85, further: float = 0.85) -> TrialResult:
    """A trial scored on 40 examples of one split and 60 of another."""
    first, second = make_predictions(seed, 40, accuracy), make_predictions(seed + 100, 60, further)
    whole = make_result(make_trial(seed=seed, task=TASK), accuracy=accuracy)
    of_second = make_result(predictions=second).epochs[0].scores
    named = {on_split(metric, "test"): value for metric, value in of_second.items()}
    assert whole.data is not None
    return whole.model_copy(
        update={
            "predictions": Predictions(
                example_ids=tuple(range(100)),
                labels=(*first.labels, *second.labels),
                logits=Logits([*first.logits, *second.logits]),
                lengths=tuple(range(2, 102)),
                splits={"validation": 40, "test": 60},
            ),
            "measurements": (
                *whole.measurements,
                *(measured(metric, value) for metric, value in named.items()),
            ),
            "epochs": (whole.epochs[0].model_copy(update={"scores": whole.epochs[0].scores | named}),),
            "data": make_data(
                eval_examples=100,
                eval_splits={"validation": 40, "test": 60},
                eval_majority_share=whole.data.eval_majority_share,
            ),
        }
    )


def report(further: float = 0.85, run: str = "one") -> Report:
    return make_report(
        [result(seed, further=further) for seed in range(3)], suite=make_suite(task=TASK), run=run
    )


def test_a_score_of_a_further_split_is_named_as_trainer_names_several_data_sets() -> None:
    assert on_split("eval_f1", "validation_mismatched") == "eval_validation_mismatched_f1"
    for score in METRICS:
        assert score_and_split(score) == (score, None)
        if score.startswith("eval_"):
            assert score_and_split(on_split(score, "a.b-c_d")) == (score, "a.b-c_d")
    assert metric_named(FURTHER).label == "accuracy (test)"
    assert is_metric(FURTHER)
    assert not is_metric("eval_test_accuracies")
    assert not is_metric("train_test_accuracy")


def test_one_split_is_written_as_before_and_a_list_of_one_is_one() -> None:
    assert Task(eval_split=("validation",)) == Task()
    assert Task().model_dump()["eval_split"] == "validation"
    assert quality_headlines([Task()]) == ("eval_accuracy", "eval_f1")
    assert not [name for name in scores_of(Task()) if name not in METRICS]
    assert "splits" not in make_predictions().model_dump()
    assert "eval_splits" not in make_data().model_dump()


def test_a_suite_names_several_splits_and_gates_and_refers_to_the_scores_of_each() -> None:
    text = SUITE.format(splits="[validation, test]")
    suite = parse_suite(
        f"{text}reference: {{{FURTHER}: 0.9}}\ngates: [{{metric: {FURTHER}, min: 0.8}}]\n", "s.yaml"
    )
    assert suite.task.eval_splits == ("validation", "test")
    assert quality_headlines([suite.task]) == (
        "eval_accuracy",
        "eval_f1",
        "eval_test_accuracy",
        "eval_test_f1",
    )


@pytest.mark.parametrize(
    ("splits", "rest", "expected"),
    [
        ("[a, a]", "", r"s\.yaml:3:\d+: eval_split names a split more than once"),
        ("['a b', c]", "", r"s\.yaml:3:\d+: eval_split must be"),
        ("[]", "", r"s\.yaml:3:\d+: eval_split must be"),
        ("[a, b]", "gates: [{metric: eval_c_f1, min: 0.8}]", "no metric 'eval_c_f1'.*did you mean eval_b_f1"),
        ("a", "gates: [{metric: eval_b_f1, min: 0.8}]", "no metric 'eval_b_f1'; name its split in task"),
        ("a", "reference: {eval_b_f1: 0.8}", "no metric 'eval_b_f1'"),
    ],
)
def test_a_wrong_split_is_refused_with_its_place(splits: str, rest: str, expected: str) -> None:
    with pytest.raises(InvalidInputError, match=expected):
        parse_suite(SUITE.format(splits=splits) + rest, "s.yaml")


def test_stored_numbers_of_a_further_split_are_verified_from_its_predictions() -> None:
    whole = result(0)
    assert contradictions(whole, 10) == ()
    forged = [measured(FURTHER, 0.99) if each.metric == FURTHER else each for each in whole.measurements]
    found = contradictions(whole.model_copy(update={"measurements": tuple(forged)}), 10)
    assert {metric for each in found for metric in each.metrics} == {FURTHER}
    assert whole.predictions is not None
    moved = whole.predictions.model_copy(update={"splits": {"validation": 41, "test": 59}})
    assert contradictions(whole.model_copy(update={"predictions": moved}), 10)
    lone = whole.predictions.model_copy(update={"splits": {}})
    assert contradictions(whole.model_copy(update={"predictions": lone}), 10)


def test_a_report_shows_each_split_and_survives_its_file(tmp_path: Path) -> None:
    whole = report()
    (tmp_path / "report.json").write_bytes(to_json(whole))
    assert load_report(tmp_path / "report.json").results == whole.results
    (row,) = summarize(whole)
    assert row.quality[FURTHER].mean == pytest.approx(
        sum(each.value(FURTHER) or 0.0 for each in whole.results) / 3
    )
    document = report_document(whole)
    page = render(document, "markdown")
    assert "accuracy (test)" in page
    assert "scores without the name of a split are those of validation" in page
    header, *lines = render(document, "csv").splitlines()
    assert f'"{FURTHER}"' in header.split(",")
    assert len(lines) == 3
    rows = list(_predictions(whole))
    assert [row["split"] for row in rows[:100]] == ["validation"] * 40 + ["test"] * 60


def test_a_comparison_pairs_the_examples_of_the_split_and_keeps_splits_apart() -> None:
    found = compare([report(), report(further=0.5, run="two")])
    by_metric = {row.metric: row for row in found.rows}
    assert by_metric["eval_accuracy"].verdict == "same"
    worse = by_metric[FURTHER]
    assert worse.verdict == "worse"
    assert worse.baseline.value == pytest.approx(summarize(report())[0].quality[FURTHER].mean)
    assert worse.candidate.value == pytest.approx(summarize(report(0.5))[0].quality[FURTHER].mean)
    assert found.margins[FURTHER] == found.margins["eval_accuracy"]
    assert "accuracy (test)" in render(comparison_document(found), "markdown")


def test_a_score_of_a_split_that_was_not_evaluated_is_missing() -> None:
    found = compare([report(), report(run="two")], metrics=["eval_accuracy", "eval_other_accuracy"])
    (row,) = (row for row in found.rows if row.metric == "eval_other_accuracy")
    assert row.verdict == "missing"
    assert row.notes == ("not every trial was evaluated on the split other",)


def test_gates_bound_the_scores_of_a_further_split_and_their_drops() -> None:
    def outcome(rule: str, further: float = 0.85, **against: Any) -> str:
        return check(report(further, run="two"), gates=[parse_gate(rule)], **against).outcome

    assert outcome(f"{FURTHER}>=0.5") == "pass"
    assert outcome(f"{FURTHER}>=0.99") == "fail"
    assert outcome("eval_other_accuracy>=0.5") == "fail"
    assert outcome(f"{FURTHER} drop<=0.02", baseline=report()) == "pass"
    assert outcome(f"{FURTHER} drop<=0.02", 0.5, baseline=report()) == "fail"


def test_a_degenerate_further_split_marks_the_trial() -> None:
    whole = result(0)
    assert whole.predictions is not None
    rows = [*whole.predictions.logits]
    constant = whole.predictions.model_copy(update={"logits": Logits([*rows[:40], *[(0.0, 1.0)] * 60])})
    found = contradictions(whole.model_copy(update={"predictions": constant}), 10)
    assert any("degenerate is false" in each.stored for each in found)


def test_rescoring_compares_and_replaces_the_scores_of_each_split() -> None:
    whole = make_report([result(0)], suite=make_suite(task=TASK))
    (kept,) = to_score(whole)
    assert kept.splits == {"validation": 40, "test": 60}
    again = Score(scores=whole.results[0].epochs[0].scores)
    scores = Scores(metric_version="new", scores=(again,))
    (trial,) = compare_scores(whole, scores)
    assert not trial.differs
    assert FURTHER in trial.values
    other = Scores(metric_version="new", scores=(Score(scores=again.scores | {FURTHER: 0.5}),))
    (trial,) = compare_scores(whole, other)
    assert trial.differing(FURTHER)
    assert with_scores(whole, other).results[0].value(FURTHER) == 0.5
