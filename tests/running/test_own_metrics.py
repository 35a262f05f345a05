"""Metrics from a user's files: computed after the training, refused before it, noted where they fail."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from harness.analysis.comparison.comparing import compare
from harness.analysis.comparison.models import ComparisonRow
from harness.analysis.gates.applying import check
from harness.analysis.scored_again import (
    Rescored,
    compare_scores,
    own_metric_problems,
    own_metrics_of,
    to_score,
)
from harness.errors import InvalidInputError, UnavailableError
from harness.model.arrays import Logits
from harness.model.quality import OwnAnswer, OwnScore, OwnScores, Predictions, Score, Scores
from harness.model.results import Report
from harness.model.suite import Gate, OwnMetric
from harness.running.workers.scoring_process import own_scores, require_own
from harness.suite.gate_files import parse_gate
from tests.factories import make_predictions, make_report, make_result, make_suite, make_trial
from tests.output.written import to_table
from tests.running.fakes import fake_suite, run_fake
from tests.suite.suite_texts import refusal_with, suite_with

METRIC = """\
import datasets
import evaluate
print("loading prints")

class Errors(evaluate.Metric):
    def _info(self):
        kind = datasets.Value("int64")
        features = datasets.Features({{"predictions": kind, "references": kind}})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, *, predictions, references):
        {compute}
"""
COUNT = "return {'errors': sum(a != b for a, b in zip(predictions, references))}"


def write(folder: Path, compute: str = COUNT, name: str = "errors.py") -> OwnMetric:
    (folder / name).write_text(METRIC.format(compute=compute))
    return OwnMetric(path=str(folder / name), goal="min")


def score_here(
    metrics: Sequence[OwnMetric], predictions: Sequence[Predictions], *, resamples: int = 0
) -> tuple[OwnAnswer, ...]:
    """As `score_own`, in this process."""
    from harness.training.processes.own_metrics import answer_of  # noqa: PLC0415 - only heavy tests import it

    given = [{"labels": each.labels, "logits": [*each.logits]} for each in predictions]
    limit_s = 0.0 if resamples == 1 else 300.0
    return tuple(answer_of(Path(each.path), given, resamples, limit_s=limit_s) for each in metrics)


def test_a_suite_declares_metrics_by_path_and_goal() -> None:
    assert suite_with().metrics == ()
    assert "metrics" not in suite_with().model_dump_json()
    (metric,) = suite_with("metrics: [{path: a/errors.py, goal: min}]").metrics
    assert (metric.name, metric.goal) == ("errors", "min")
    assert "goal" in refusal_with("metrics: [{path: a.py}]")
    assert "set another label" in refusal_with(
        "metrics: [{path: a.py, goal: max}, {path: b/a.py, goal: max}]"
    )
    assert "set another label" in refusal_with("metrics: [{path: a.py, goal: max, label: F1}]")


@pytest.mark.heavy
def test_scores_come_from_the_stored_logits_with_the_digest_of_the_file_that_ran(tmp_path: Path) -> None:
    kept = {"a": make_predictions(1, accuracy=0.9), "b": make_predictions(2, accuracy=0.6)}
    (found,) = own_scores([write(tmp_path)], kept, score=score_here)
    expected = {
        trial: sum(int(row[1] > row[0]) != label for row, label in zip(each.logits, each.labels, strict=True))
        for trial, each in kept.items()
    }
    assert {trial: score.value for trial, score in found.scores.items()} == expected
    digest = hashlib.sha256((tmp_path / "errors.py").read_bytes()).hexdigest()
    assert (found.label, found.version) == ("errors", f"errors.py sha256:{digest}")


@pytest.mark.heavy
def test_every_unusable_file_is_named_before_any_training(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module_at_all\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    os.mkfifo(tmp_path / "pipe.py")
    metrics = [
        OwnMetric(path=str(tmp_path / "missing.py"), goal="max"),
        OwnMetric(path="~no-such-user/m.py", goal="max"),
        OwnMetric(path=str(tmp_path / "pipe.py"), goal="max"),
        OwnMetric(path=str(tmp_path / "broken.py"), goal="max"),
        OwnMetric(path=str(tmp_path / "empty.py"), goal="max"),
        write(tmp_path, "raise RuntimeError('not today')", "fails.py"),
        write(tmp_path, "return {'a': 1, 'b': 2}", "two.py"),
        write(tmp_path, "return {'a': float('nan')}", "nan.py"),
        write(tmp_path, "raise SystemExit(0)", "leaves.py"),
        write(tmp_path),
    ]
    with pytest.raises(InvalidInputError) as caught:
        require_own(metrics, ["classification"], score=score_here)
    lines = caught.value.message.splitlines()
    assert len(lines) == len(metrics) - 1
    for line, words in zip(
        lines,
        (
            "missing.py: cannot be read: No such file",
            "~no-such-user/m.py: cannot be read: No such file",
            "pipe.py: cannot be read: is a named pipe, not a regular file",
            "broken.py: cannot be loaded: ModuleNotFoundError",
            "empty.py: expected one class derived from evaluate.Metric, found none",
            "fails.py: compute failed: RuntimeError: not today",
            "two.py: compute must return a dictionary with one number, found the keys a, b",
            "nan.py: compute must return a finite number, found nan",
            "leaves.py: compute failed: SystemExit: 0",
        ),
        strict=True,
    ):
        assert words in line
    with pytest.raises(InvalidInputError, match="missing"):
        run_fake(fake_suite(metrics=tuple(metrics[:1])), tmp_path / "reports")
    assert not list((tmp_path / "reports").rglob("job.json"))


@pytest.mark.heavy
def test_a_run_scores_its_trials_and_a_metric_that_fails_later_is_noted(tmp_path: Path) -> None:
    fails = "assert len(references) < 5, 'too many'; return {'x': 1}"
    metrics = (write(tmp_path), write(tmp_path, fails, "small.py"))
    report = run_fake(fake_suite(metrics=metrics), tmp_path / "reports").report
    errors, small = report.own_metrics
    assert [*errors.scores] == [result.trial.id for result in report.results]
    assert all(score.value is not None for score in errors.scores.values())
    assert {score.reason for score in small.scores.values()} == {"compute failed: AssertionError: too many"}
    text = to_table(report)
    assert "own metric small not measured in 2 trials: compute failed: AssertionError: too many" in text
    assert f"own metric errors: {errors.version}, from the stored logits; lower is better" in text


def scored(
    run: str,
    *values: float,
    version: str = "m.py sha256:1",
    goal: Literal["max", "min"] = "max",
    predicted: int = 0,
    **changes: Any,
) -> Report:
    results = [
        make_result(make_trial(seed=seed), predictions=make_predictions(seed + 10 * predicted), **changes)
        for seed, _ in enumerate(values)
    ]
    scores = {result.trial.id: OwnScore(value=value) for result, value in zip(results, values, strict=True)}
    own = OwnScores(label="mine", goal=goal, file="m.py", version=version, scores=scores)
    report = make_report(results, run=run, suite=make_suite())
    return report.model_copy(update={"own_metrics": (own,)})


def test_a_report_has_a_column_with_the_mean_and_spread_of_sound_trials() -> None:
    text = to_table(scored("a", 0.5, 0.7))
    assert "mine" in text.partition("──")[0]
    assert "0.600 ±0.14" in text
    assert "mine" not in to_table(make_report())


def test_a_score_without_resamples_is_unsure_and_files_are_told_apart() -> None:
    def row(one: Report, two: Report) -> ComparisonRow:
        found = compare([one, two]).rows
        return next(each for each in found if each.metric == "own.mine")

    one = scored("a", 0.5, 0.7)
    two = scored("b", 0.8, 0.8, predicted=1)
    unsure = row(one, two)
    assert (unsure.verdict, unsure.goal) == ("unsure", "max")
    assert unsure.effect == pytest.approx(0.2)
    assert "the report has no scores on resamples" in unsure.notes[0]
    changed = row(one, scored("b", 0.8, 0.8, version="m.py sha256:2"))
    assert changed.verdict == "not comparable"
    assert changed.notes[0] == "another metric: m.py sha256:1, goal max against m.py sha256:2, goal max"
    missing = row(one, one.model_copy(update={"own_metrics": (), "run": "b"}))
    assert (missing.verdict, missing.notes[0]) == ("missing", "no scores by the metric mine in b")
    assert row(one, scored("b", 0.5, 0.7)).verdict == "same"
    assert "own." not in compare([make_report(run="a"), make_report(run="b")]).model_dump_json()


def test_a_trial_without_a_score_or_other_examples_leave_no_verdict_on_a_users_metric() -> None:
    def row(one: Report, two: Report, **terms: Any) -> ComparisonRow:
        rows = compare([one, two], metrics=["own.mine", "train_loss"], **terms).rows
        return next(each for each in rows if each.metric == "own.mine")

    one, two = scored("a", 0.5, 0.7), scored("b", 0.8, 0.8, predicted=1)
    own = two.own_metrics[0]
    first, second = own.scores
    for scores, reason in (
        (
            {first: own.scores[first], second: OwnScore(reason="metric() returned NaN")},
            "metric() returned NaN",
        ),
        ({first: own.scores[first]}, "the report lacks it"),
    ):
        lacking = two.model_copy(update={"own_metrics": (own.model_copy(update={"scores": scores}),)})
        found = row(one, lacking)
        assert (found.verdict, found.notes[0]) == ("missing", f"mine was not measured in b: {reason}")
    fewer = [
        each.model_copy(update={"predictions": make_predictions(at, 30)})
        for at, each in enumerate(two.results)
    ]
    other = row(one, two.model_copy(update={"results": tuple(fewer)}), allow_mismatch=["examples"])
    assert (other.verdict, other.notes[0]) == (
        "not comparable",
        "the sides were not scored on the same examples",
    )


def test_a_scorer_that_ends_without_an_answer_is_the_reason_in_every_trial(tmp_path: Path) -> None:
    def ends(*_asked: object, **_terms: object) -> tuple[OwnAnswer, ...]:
        raise UnavailableError("the scorer ended without an answer: Killed", hint="Free memory.")

    metric = OwnMetric(path=str(tmp_path / "mine.py"), goal="min")
    (found,) = own_scores([metric], {"a": make_predictions(1), "b": make_predictions(2)}, score=ends)
    assert (found.label, found.goal, found.version) == ("mine", "min", "mine.py, not read")
    reasons = {id_: score.reason for id_, score in found.scores.items()}
    assert [*reasons] == ["a", "b"]
    assert set(reasons.values()) == {"the scorer ended without an answer: Killed; Free memory."}
    report = make_report(
        [make_result(make_trial(seed=seed), predictions=make_predictions(seed)) for seed in range(2)]
    )
    scores = dict(zip((each.trial.id for each in report.results), found.scores.values(), strict=True))
    own = found.model_copy(update={"scores": scores})
    text = to_table(report.model_copy(update={"own_metrics": (own,)})).replace("\n  ", " ")
    assert "own metric mine not measured in 2 trials: the scorer ended without an answer: Killed" in text


def accuracies(run: str, accuracy: float, goal: Literal["max", "min"] = "max", seeds: int = 5) -> Report:
    """A report whose own metric is the accuracy, resampled as the scorer resamples."""
    kept = [make_predictions(10 * seed + int(100 * accuracy), 400, accuracy) for seed in range(seeds)]
    results = [make_result(make_trial(seed=seed), predictions=each) for seed, each in enumerate(kept)]
    right = np.array(
        [np.array(each.logits).argmax(axis=1) == np.array(each.labels) for each in kept], dtype=float
    )
    drawn = np.random.default_rng(1).integers(0, 400, (200, 400))
    scores = {
        result.trial.id: OwnScore(value=row.mean(), resampled=tuple(row[drawn].mean(axis=1)))
        for result, row in zip(results, right, strict=True)
    }
    own = OwnScores(label="mine", goal=goal, file="m.py", version="m.py sha256:1", scores=scores)
    report = make_report(results, run=run, suite=make_suite())
    return report.model_copy(update={"own_metrics": (own,)})


def test_a_resampled_score_is_compared_as_the_same_score_of_the_table() -> None:
    rows = {row.metric: row for row in compare([accuracies("a", 0.85), accuracies("b", 0.75)]).rows}
    known, own = rows["eval_accuracy"], rows["own.mine"]
    assert (known.verdict, own.verdict) == ("worse", "worse")
    assert own.effect == pytest.approx(known.effect)
    assert own.interval == pytest.approx(known.interval, rel=0.15)
    lower = compare([accuracies("a", 0.85, "min"), accuracies("b", 0.75, "min")], metrics=["own.mine"])
    assert lower.rows[0].verdict == "better"
    single = compare([accuracies("a", 0.85, seeds=1), accuracies("b", 0.75, seeds=1)], metrics=["own.mine"])
    assert single.rows[0].verdict == "unsure"
    assert "the effect of another seed is unknown" in single.rows[0].notes[0]


def test_variants_of_one_report_have_the_scores_of_their_own_trials() -> None:
    trials = [make_trial(padding, seed) for seed in range(3) for padding in ("static", "dynamic")]
    results = [make_result(trial, predictions=make_predictions(place)) for place, trial in enumerate(trials)]
    scores = {trial.id: OwnScore(value=float(place)) for place, trial in enumerate(trials)}
    fields = {"goal": "min", "file": "m.py", "version": "m.py sha256:1"}
    own = [
        OwnScores.model_validate(
            fields | {"label": "other", "scores": dict.fromkeys(scores, OwnScore(value=9.0))}
        ),
        OwnScores.model_validate(fields | {"label": "mine", "scores": scores}),
    ]
    report = make_report(results).model_copy(update={"own_metrics": tuple(own)})
    (row,) = compare([report], by="padding", metrics=["own.mine"]).rows
    assert (row.baseline.value, row.candidate.value, row.effect) == (2.0, 3.0, 1.0)
    (row,) = compare([report], by="padding", baseline="dynamic", metrics=["own.mine"]).rows
    assert (row.baseline.value, row.candidate.value, row.effect) == (3.0, 2.0, -1.0)


@pytest.mark.parametrize(
    ("gate", "verdict"),
    [
        (Gate(metric="own.mine", max_drop=0.02), "failed"),
        (Gate(metric="own.mine", max_drop=0.3), "passed"),
        (Gate(metric="own.mine", max_drop="2%"), "failed"),
        (Gate(metric="own.mine", min=0.8), "failed"),
        (Gate(metric="own.mine", min=0.6), "passed"),
        (Gate(metric="own.other", min=0.6), "failed"),
        (Gate(metric="own.other", max_drop=0.6), "failed"),
    ],
)
def test_gates_bound_a_score_and_its_drop(gate: Gate, verdict: str) -> None:
    found = check(
        accuracies("b", 0.75), baseline=accuracies("a", 0.85), gates=[gate], allow_mismatch=["stand_in"]
    )
    (case,) = (case for case in found.cases if case.kind in ("bound", "drop"))
    assert (case.metric, case.verdict) == (gate.metric, verdict), case.reason
    assert "points" not in case.reason
    assert f"{gate.metric}: as stored; `harness rescore` computes them again from the logits" in found.notes


def test_a_gate_names_a_metric_of_its_suite() -> None:
    metrics = "metrics: [{path: errors.py, goal: min}]\n"
    (gate,) = suite_with(metrics + "gates: [{metric: own.errors, max: 30, max_drop: 5}]").gates
    assert (gate.metric, gate.max, gate.max_drop) == ("own.errors", 30, 5)
    reason = refusal_with(metrics + "gates: [{metric: own.error, max: 30}]")
    assert "no metric" in reason
    assert "own.errors" in reason
    assert parse_gate("own.errors drop<=10%").max_drop == "10%"


def test_a_gate_fails_where_one_of_several_trials_has_no_score() -> None:
    report = scored("a", 0.9, 0.9)
    (own,) = report.own_metrics
    second = list(own.scores)[1]
    scores = own.scores | {second: OwnScore(reason="compute must return a finite number, found nan")}
    report = report.model_copy(update={"own_metrics": (own.model_copy(update={"scores": scores}),)})
    found = check(report, gates=[Gate(metric="own.mine", min=0.8)], allow_mismatch=["stand_in"])
    (case,) = (case for case in found.cases if case.kind == "bound")
    assert (case.verdict, case.reason) == (
        "failed",
        "no value of seed 1: compute must return a finite number, found nan",
    )


@pytest.mark.parametrize("name", ["balanced accuracy", "größe", "a drop (mean)"])
def test_a_gate_of_the_command_line_names_any_label(name: str) -> None:
    assert parse_gate(f"own.{name} >= 0.8") == Gate(metric=f"own.{name}", min=0.8)
    assert parse_gate(f"own.{name} drop<=2%") == Gate(metric=f"own.{name}", max_drop="2%")


def test_rescoring_names_a_metric_whose_file_changed_fails_or_is_not_named() -> None:
    stored = scored("a", 0.5, 0.7)
    (own,) = stored.own_metrics
    reasons = {id_: OwnScore(reason="compute failed: ZeroDivisionError") for id_ in own.scores}
    failing = own.model_copy(update={"scores": reasons})
    assert list(own_metric_problems(stored, [own])) == []
    assert list(own_metric_problems(stored, [])) == [
        "not scored again: mine, whose file the suite does not name"
    ]
    assert list(own_metric_problems(stored, [failing])) == [
        "not scored again: mine: m.py compute failed: ZeroDivisionError"
    ]
    changed = own.model_copy(update={"version": "m.py sha256:2"})
    assert list(own_metric_problems(stored, [changed])) == [
        "mine: its file changed: stored m.py sha256:1, now m.py sha256:2"
    ]


def test_rescoring_shows_both_scores_of_a_users_metric_and_none_of_a_file_that_fails() -> None:
    stored = scored("a", 0.5, 0.7)
    (own,) = stored.own_metrics
    first, second = own.scores
    again = own.model_copy(update={"scores": {first: OwnScore(value=0.5), second: OwnScore(value=0.9)}})
    known = Scores(
        metric_version="x",
        scores=tuple(Score(scores=dict(result.epochs[-1].scores)) for result in stored.results),
    )
    rows = compare_scores(stored, known, [again])
    assert [row.values["own.mine"] for row in rows] == [(0.5, 0.5), (0.7, 0.9)]
    assert [row.differing("own.mine") for row in rows] == [False, True]
    failing = own.model_copy(update={"scores": {id_: OwnScore(reason="broken") for id_ in own.scores}})
    assert not any("own.mine" in row.values for row in compare_scores(stored, known, [failing]))


@pytest.mark.heavy
def test_a_score_is_resampled_where_it_is_computed(tmp_path: Path) -> None:
    kept = {"a": make_predictions(1, 200)}
    right = "return {'x': sum(a == b for a, b in zip(predictions, references)) / len(references)}"
    odd = "assert sum(references) == 133; return {'x': 1.0}"
    metrics = [write(tmp_path, right), write(tmp_path, odd, "odd.py")]
    found, failing = own_scores(metrics, kept, score=score_here)
    score = found.scores["a"]
    assert score.value is not None
    assert len(score.resampled) == 200
    assert np.std(score.resampled) == pytest.approx(np.sqrt(score.value * (1 - score.value) / 200), rel=0.25)
    assert own_scores(metrics, kept, score=score_here) == (found, failing)
    assert (failing.scores["a"].value, failing.scores["a"].resampled) == (1.0, ())
    assert (failing.scores["a"].unresampled or "").startswith("on a resample of the examples, compute failed")
    (late, _) = score_here(metrics, [*kept.values()], resamples=1)
    assert late.scores[0].unresampled == "computing it on resamples of the examples takes too long"


@pytest.mark.heavy
def test_a_metric_of_a_regression_gets_its_numbers(tmp_path: Path) -> None:
    text = METRIC.replace("int64", "float64").format(
        compute="return {'x': sum(abs(a - b) for a, b in zip(predictions, references))}"
    )
    (tmp_path / "errors.py").write_text(text)
    metric = OwnMetric(path=str(tmp_path / "errors.py"), goal="min")
    kept = Predictions(example_ids=(0, 1), labels=(1.5, 2.5), logits=Logits([(1.0,), (4.0,)]))
    (found,) = own_scores([metric], {"a": kept}, score=score_here)
    assert found.scores["a"].value == pytest.approx(2.0)
    broken = write(tmp_path, "assert all(isinstance(each, int) for each in references)", "ints.py")
    with pytest.raises(InvalidInputError, match=r"ints\.py: compute"):
        require_own([metric, broken], ["regression"], score=score_here)


@pytest.mark.heavy
def test_rescore_computes_the_metric_again_and_reports_a_changed_file(tmp_path: Path) -> None:
    def score_once(
        metrics: Sequence[OwnMetric], predictions: Sequence[Predictions], *, resamples: int
    ) -> tuple[OwnAnswer, ...]:
        return score_here(metrics, predictions)

    metric = write(tmp_path)
    results = [make_result(make_trial(seed=seed)) for seed in (0, 1)]
    kept = {each.trial.id: each.predictions for each in results if each.predictions is not None}
    report = make_report(results, suite=make_suite(metrics=(metric,)))
    report = report.model_copy(update={"own_metrics": own_scores([metric], kept, score=score_once)})

    def rescored() -> tuple[tuple[Rescored, ...], list[str]]:
        own = own_scores(own_metrics_of(report), kept, score=score_once)
        scores = Scores(
            metric_version="1", scores=tuple(Score(reason="not asked for") for _ in to_score(report))
        )
        return compare_scores(report, scores, own), [*own_metric_problems(report, own)]

    trials, problems = rescored()
    assert problems == []
    assert not any(trial.differing("own.errors") for trial in trials)
    write(tmp_path, "return {'errors': 1 + sum(a != b for a, b in zip(predictions, references))}")
    trials, problems = rescored()
    assert all(trial.differing("own.errors") for trial in trials)
    assert problems[0].startswith("errors: its file changed: stored errors.py sha256:")
    (tmp_path / "errors.py").unlink()
    trials, problems = rescored()
    assert problems == ["not scored again: errors: errors.py cannot be read: No such file or directory"]
    assert not any("own.errors" in trial.values for trial in trials)
