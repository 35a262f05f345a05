"""Metrics from a user's files: computed after the training, refused before it, noted where they fail."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Literal

import pytest

from harness.analysis.comparison.compare import compare
from harness.errors import InvalidInputError
from harness.model.quality import OwnScore, OwnScores
from harness.model.results import Report
from harness.model.suite import OwnMetric
from harness.running.workers.scoring_process import own_scores, require_own
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
    (found,) = own_scores([write(tmp_path)], kept)
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
        require_own(metrics)
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
    **changes: Any,
) -> Report:
    results = [make_result(make_trial(seed=seed), **changes) for seed, _ in enumerate(values)]
    scores = {result.trial.id: OwnScore(value=value) for result, value in zip(results, values, strict=True)}
    own = OwnScores(label="mine", goal=goal, file="m.py", version=version, scores=scores)
    report = make_report(results, run=run, suite=make_suite())
    return report.model_copy(update={"own_metrics": (own,)})


def test_a_report_has_a_column_with_the_mean_and_spread_of_sound_trials() -> None:
    text = to_table(scored("a", 0.5, 0.7))
    assert "mine" in text.partition("──")[0]
    assert "0.600 ±0.14" in text
    assert "mine" not in to_table(make_report())


def test_a_comparison_gives_both_means_without_a_verdict_and_tells_files_apart() -> None:
    def notes(one: Report, two: Report) -> str:
        return "\n".join(compare([one, two]).notes)

    one = scored("a", 0.5, 0.7)
    assert "0.6 (mean of 2 seeds) and 0.8 (mean of 2 seeds), max is better: unsure: a metric from" in notes(
        one, scored("b", 0.8, 0.8)
    )
    assert "not comparable: m.py sha256:1, goal max, and m.py sha256:2, goal max" in notes(
        one, scored("b", 0.8, 0.8, version="m.py sha256:2")
    )
    assert "not comparable: only the baseline has it" in notes(
        one, one.model_copy(update={"own_metrics": (), "run": "b"})
    )
    assert "own metric" not in notes(make_report(run="a"), make_report(run="b"))
