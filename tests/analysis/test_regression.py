"""Comparing regressions: Pearson and squared errors by resampling examples, no verdict on Spearman."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.breakdown import parts_of
from harness.analysis.checks.verification import contradictions
from harness.analysis.comparison.comparing import compare
from harness.analysis.comparison.models import ComparisonRow
from harness.analysis.scored_again import compare_scores, to_score, with_scores
from harness.analysis.stats.quality_tests import compare_quality
from harness.analysis.stats.resampling import Case
from harness.analysis.stats.scoring import ranks, scores
from harness.analysis.stats.sheets import read_sheet
from harness.model.arrays import Logits
from harness.model.measurements import measured
from harness.model.quality import Epoch, Predictions, Score, Scores
from harness.model.results import Report, TrialResult
from harness.model.tasks import Task
from harness.output.builders.report import report_document
from harness.output.formats.known_formats import render
from tests.factories import make_report, make_result, make_trial

TASK = Task(dataset="nyu-mll/glue", config="stsb", kind="regression")
SPEED = ("train_real_tokens_per_second",)
NUMBERS = st.lists(st.integers(-20, 20), min_size=5, max_size=30)


@given(NUMBERS)
def test_ranks_are_scipys(values: list[int]) -> None:
    assert ranks(np.array(values)).tolist() == stats.rankdata(values).tolist()


@given(NUMBERS, st.floats(0.001, 1e4), st.floats(-1e3, 1e3))
def test_a_correlation_does_not_depend_on_scale(values: list[int], scale: float, shift: float) -> None:
    targets = np.random.default_rng(len(values)).normal(size=len(values))
    outputs = np.array(values, dtype=np.float64)
    if np.ptp(outputs) == 0:
        assert np.isnan(scores("eval_pearson", targets, outputs[None])[0])
        return
    due = stats.pearsonr(outputs, targets).statistic
    for given_outputs in (outputs, outputs * scale + shift):
        assert scores("eval_pearson", targets, given_outputs[None])[0] == pytest.approx(due, abs=1e-6)
    assert scores("eval_spearman", targets, outputs[None])[0] == pytest.approx(
        stats.spearmanr(outputs, targets).statistic
    )


def regression(padding: str, seed: int, noise: float, examples: int = 200, constant: int = 0) -> TrialResult:
    """A trial whose outputs follow the targets up to noise, and are one value for the first few."""
    draw = np.random.default_rng(7)
    targets = (draw.integers(0, 26, examples) / 5).astype(np.float32)
    errors = np.random.default_rng([seed, int(1000 * noise)]).normal(size=examples)
    outputs = (2.5 + 0.01 * (targets + noise * errors)).astype(np.float32)
    outputs[:constant] = 2.5 if padding == "static" else 2.6
    found = {
        "eval_pearson": float(stats.pearsonr(outputs.astype(float), targets.astype(float)).statistic),
        "eval_spearman": float(stats.spearmanr(outputs, targets).statistic),
        "eval_mse": float(np.mean((outputs.astype(float) - targets.astype(float)) ** 2)),
    }
    result = make_result(make_trial(padding, seed, task=TASK))  # type: ignore[arg-type] # a name of a padding
    kept = tuple(each for each in result.measurements if not each.metric.startswith("eval_"))
    assert result.data is not None
    common = max(np.unique(targets, return_counts=True)[1]) / examples
    return result.model_copy(
        update={
            "measurements": (*(measured(name, value) for name, value in found.items()), *kept),
            "epochs": (Epoch(epoch=1, train_loss=0.5, scores=found),),
            "predictions": Predictions(
                example_ids=tuple(range(examples)),
                labels=tuple(map(float, targets)),
                logits=Logits([[float(each)] for each in outputs]),
            ),
            "data": result.data.model_copy(
                update={
                    "labels": ("label",),
                    "eval_examples": examples,
                    "eval_majority_share": float(common),
                }
            ),
        }
    )


def report(better: float, worse: float, examples: int = 200) -> Report:
    return make_report(
        [
            regression(padding, seed, noise, examples)
            for seed in range(3)
            for padding, noise in (("static", worse), ("dynamic", better))
        ]
    )


def rows_by_metric(found: Report) -> dict[str, ComparisonRow]:
    metrics = ("eval_pearson", "eval_spearman", "eval_mse")
    return {row.metric: row for row in compare([found], by="padding", metrics=metrics).rows}


@pytest.mark.parametrize("scale", [1e15, 1e19, 1e40])
def test_outputs_too_large_for_sums_in_single_precision_get_no_verdict(scale: float) -> None:
    def scaled(result: TrialResult) -> TrialResult:
        assert result.predictions is not None
        outputs = [[scale * row[0]] for row in result.predictions.logits]
        kept = result.predictions.model_copy(update={"logits": Logits(outputs)})
        errors = [(row[0] - target) ** 2 for row, target in zip(outputs, kept.labels, strict=True)]
        found = measured("eval_mse", float(np.mean(errors)))
        others = (each for each in result.measurements if each.metric != "eval_mse")
        return result.model_copy(update={"predictions": kept, "measurements": (found, *others), "epochs": ()})

    ordinary = report(better=0.3, worse=2.0)
    results = tuple(map(scaled, ordinary.results))
    found = compare(
        [ordinary.model_copy(update={"results": results})], by="padding", metrics=[*SPEED, "eval_mse"]
    )
    mse = next(row for row in found.rows if row.metric == "eval_mse")
    assert (mse.verdict, "too large" in mse.notes[0]) == ("not comparable", True)


def test_a_better_correlation_is_found_although_outputs_hardly_vary() -> None:
    rows = rows_by_metric(report(better=0.3, worse=2.0))
    pearson, spearman = rows["eval_pearson"], rows["eval_spearman"]
    assert pearson.verdict == "better"
    assert spearman.verdict == "not comparable"
    assert any("ranks depend on all examples" in note for note in spearman.notes)
    assert spearman.candidate.value is not None
    assert spearman.candidate.value > 0.9


def test_equal_noise_is_no_difference() -> None:
    assert rows_by_metric(report(better=1.0, worse=1.001))["eval_pearson"].verdict in ("unsure", "same")


def test_few_examples_are_not_resampled() -> None:
    row = rows_by_metric(report(better=0.3, worse=2.0, examples=30))["eval_pearson"]
    assert row.verdict == "not comparable"
    assert any("30 examples" in note for note in row.notes)


@pytest.mark.parametrize("constant", [80, 100, 101, 120])
def test_outputs_that_are_mostly_one_value_are_not_resampled(constant: int) -> None:
    found = [
        regression(padding, seed, 0.3, constant=constant)
        for seed in range(3)
        for padding in ("static", "dynamic")
    ]
    row = rows_by_metric(make_report(found))["eval_pearson"]
    assert (row.verdict == "not comparable") == (constant > 100)
    note = f"one value for {constant} of 200 examples: a resample may have no correlation"
    assert (note in row.notes) == (constant > 100)


def test_a_score_without_a_verdict_has_the_means_of_both_sides() -> None:
    made = report(better=0.3, worse=2.0)
    row = rows_by_metric(made)["eval_spearman"]
    for side, padding in ((row.baseline, "static"), (row.candidate, "dynamic")):
        values = [
            each.value("eval_spearman") for each in made.results if each.trial.padding.strategy == padding
        ]
        assert side.value == pytest.approx(np.mean([value for value in values if value is not None]))
    assert (row.effect, row.p) == (None, None)


def test_the_error_of_a_difference_is_that_of_repeated_experiments() -> None:
    draw = np.random.default_rng(1)

    def experiment() -> tuple[Case, float]:
        targets = draw.normal(size=200)
        before, after = (targets + draw.normal(size=(2, 1, 200))).astype(np.float64)
        case = Case("eval_pearson", targets, before, after)
        columns = scores("eval_pearson", targets, case.columns)
        return case, float(columns[1] - columns[0])

    found = [experiment() for _ in range(300)]
    spread = float(np.std([difference for _, difference in found]))
    errors = []
    for effect in compare_quality([case for case, _ in found[:20]], resamples=2_000):
        assert effect.pair_p is not None
        # The test is two-sided by Student's t with 199 degrees of freedom.
        errors.append(abs(effect.value) / stats.t.isf(effect.pair_p / 2, 199))
    assert np.median(errors) == pytest.approx(spread, rel=0.2)


def test_a_changed_score_contradicts_its_outputs() -> None:
    result = regression("dynamic", 0, 0.5)
    assert not [each for each in contradictions(result, 10) if "eval_pearson" in each.metrics]
    kept = tuple(each for each in result.measurements if each.metric != "eval_pearson")
    forged = result.model_copy(update={"measurements": (measured("eval_pearson", 0.999), *kept)})
    assert [each for each in contradictions(forged, 10) if "eval_pearson" in each.metrics]
    classes = result.model_copy(update={"measurements": (measured("eval_accuracy", 1.0), *kept)})
    assert any("no score of a regression" in str(each) for each in contradictions(classes, 10))


def test_views_show_the_correlations(tmp_path: Path) -> None:
    found = report(0.3, 2.0)
    assert parts_of(found.results) == ()
    again = Report.model_validate_json(found.model_dump_json())
    assert again == found
    for name in ("markdown", "html", "json"):
        text = render(report_document(again), name)
        assert "Pearson" in text or "eval_pearson" in text
    table = render(report_document(again), "markdown")
    assert "accuracy" not in table.partition("##")[0]


def test_rescoring_keeps_the_scores_of_a_regression() -> None:
    found = report(0.3, 2.0)
    assert len(to_score(found)) == 6
    scored = Scores(
        metric_version="x",
        scores=tuple(Score(scores=dict(result.epochs[-1].scores)) for result in found.results),
    )
    assert not any(each.differing(metric) for each in compare_scores(found, scored) for metric in each.values)
    assert with_scores(found, scored).results[0].value("eval_pearson") == found.results[0].value(
        "eval_pearson"
    )


def test_a_score_of_other_examples_on_each_side_has_no_means_to_set_side_by_side() -> None:
    one, two = report(better=0.3, worse=2.0), report(better=0.3, worse=2.0, examples=190)
    rows = compare(
        [one, two.model_copy(update={"run": "b"})],
        metrics=["eval_spearman", "eval_mse"],
        allow_mismatch=["examples"],
    ).rows
    for row in rows:
        known = row.metric == "eval_mse"
        assert (row.baseline.value is None, row.candidate.value is None) == (not known, not known)
        assert (row.verdict == "not comparable") is not known


def test_outputs_or_targets_of_one_value_are_degenerate() -> None:
    sheet = read_sheet(regression("static", 0, 0.3))
    assert sheet is not None
    one = np.full_like(sheet.labels, 2.5)
    for labels, outputs, expected in (
        (sheet.labels, sheet.predicted, False),
        (sheet.labels, one, True),
        (one, sheet.predicted, True),
    ):
        assert replace(sheet, labels=labels, predicted=outputs).degenerate is expected
