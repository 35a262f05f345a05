"""Regression: trained with mean squared error by either engine, proved, and scored from stored outputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from harness.analysis.checks.verification import contradictions
from harness.analysis.parity import verdict_of
from harness.analysis.training_verdicts import failed_checks, training_of, training_verdict
from harness.model.job import Job
from harness.model.results import TrialResult
from harness.model.tasks import Task
from harness.model.values import Engine, PaddingStrategy, Precision
from harness.training.engines.engine import Training
from harness.training.evaluation import score
from harness.training.processes.rescoring import rescore
from harness.training.run_trial import run_trial
from tests.training.conftest import MakeJob, quietly

pytestmark = pytest.mark.heavy
TASK = Task(kind="regression")


def with_targets(job: Job, target: Callable[[dict[str, Any]], float] | None = None) -> Job:
    """The job on numbers from 0 to 5: half of it a shared first word, the rest a length."""

    def graded(row: dict[str, Any]) -> float:
        return float(2.5 * row["label"] + len(row["sentence1"].split()) / 8)

    for (file,) in job.data.files.values():
        rows = [json.loads(line) for line in Path(file).read_text().splitlines()]
        lines = [json.dumps({**row, "label": (target or graded)(row)}) + "\n" for row in rows]
        Path(file).write_text("".join(lines))
    return job


@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_a_trial_keeps_outputs_and_targets_behind_its_correlations(engine: Engine, make_job: MakeJob) -> None:
    job = with_targets(make_job(engine=engine, task=TASK, train={"learning_rate": 1e-3}))
    result = run_trial(job, quietly)
    assert result.predictions is not None
    outputs = [row[0] for row in result.predictions.logits]
    targets = result.predictions.labels
    assert {len(row) for row in result.predictions.logits} == {1}
    assert all(isinstance(target, float) for target in targets)
    assert result.value("eval_pearson") == pytest.approx(stats.pearsonr(outputs, targets).statistic)
    assert result.value("eval_spearman") == pytest.approx(stats.spearmanr(outputs, targets).statistic)
    assert result.value("eval_mse") == pytest.approx(np.mean((np.array(outputs) - np.array(targets)) ** 2))
    assert result.value("eval_accuracy") is None
    assert result.value("eval_loss") is None
    assert not result.degenerate
    assert contradictions(result, 2) == ()
    again = rescore([float(target) for target in targets], [list(row) for row in result.predictions.logits])
    assert again.scores == result.epochs[-1].scores
    assert TrialResult.model_validate_json(result.model_dump_json()) == result
    assert result.data is not None
    assert result.data.labels == ("label",)


@pytest.mark.parametrize("constant", ["outputs", "targets"])
def test_a_constant_has_no_correlation_and_gives_the_reason(
    constant: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    if constant == "outputs":
        monkeypatch.setattr(
            "harness.training.fitting.predict", lambda *_: np.full((24, 1), 1.5, dtype=np.float32)
        )
        # Which evaluates a few rows again.
        monkeypatch.setattr("harness.training.fitting.check_logits", lambda *_: None)
        job = with_targets(make_job(task=TASK))
    else:
        job = with_targets(make_job(task=TASK), lambda _row: 3.0)
    result = run_trial(job, quietly)
    assert result.degenerate
    found = result.measurement("eval_pearson")
    assert found is not None
    assert not found.values
    assert found.reason is not None
    assert "constant" in found.reason
    assert result.value("eval_mse") is not None
    assert contradictions(result, 2) == ()
    assert any("a single number" in note for note in result.notes)


def test_scores_of_ties_are_those_of_scipy() -> None:
    draw = np.random.default_rng(3)
    for _ in range(20):
        targets = draw.integers(0, 6, 40) / 2
        outputs = (targets + draw.normal(size=40)).round(0)
        found = score(outputs[:, None], targets).scores
        assert found["eval_pearson"] == pytest.approx(stats.pearsonr(outputs, targets).statistic)
        assert found["eval_spearman"] == pytest.approx(stats.spearmanr(outputs, targets).statistic)


@pytest.mark.parametrize("engine", ["trainer", "loop"])
@pytest.mark.parametrize("padding", ["dynamic", "unpadded"])
def test_every_engine_computes_the_plain_function(
    engine: Engine, padding: PaddingStrategy, make_job: MakeJob
) -> None:
    job = with_targets(make_job(engine=engine, padding=padding, task=TASK))
    result = run_trial(job.model_copy(update={"purpose": "prove"}), quietly)
    assert verdict_of(result) == "exact"


def prove(job: Job) -> TrialResult:
    trial = training_of(job.trial, "bert")
    return run_trial(job.model_copy(update={"trial": trial, "purpose": "prove_training"}), quietly)


@pytest.mark.parametrize(
    ("engine", "padding", "precision"),
    [
        ("trainer", "dynamic", "fp32"),
        ("loop", "bucketed", "fp32"),
        ("loop", "unpadded", "bf16"),
        ("trainer", "static", "bf16"),
    ],
)
def test_either_engine_trains_as_the_reference(
    engine: Engine, padding: PaddingStrategy, precision: Precision, make_job: MakeJob
) -> None:
    result = prove(make_job(engine=engine, padding=padding, precision=precision, task=TASK))
    assert {check.name: check.found for check in failed_checks(result)} == {}
    assert training_verdict(result) == "same"


def test_a_training_on_another_loss_is_caught(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def absolute(
        self: Training, forward: Callable[..., Any], inputs: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        outputs = forward(**inputs).logits[:, 0]
        loss: torch.Tensor = (outputs - inputs["labels"]).abs().mean()
        return loss

    monkeypatch.setattr(Training, "loss_of", absolute)
    result = prove(make_job(engine="loop", task=TASK))
    assert "parameters" in {check.name for check in failed_checks(result)}


def test_the_proof_of_classes_is_not_that_of_numbers(make_job: MakeJob) -> None:
    classes, numbers = (training_of(make_job(task=task).trial, "bert") for task in (Task(), TASK))
    assert classes.id != numbers.id


def test_a_single_text_with_three_classes_trains_to_three_outputs(make_job: MakeJob) -> None:
    task = Task(dataset="owner/set", config=None, text=("sentence1",))
    job = with_targets(make_job(task=task), lambda row: len(row["sentence1"]) % 3)
    result = run_trial(job, quietly)
    assert result.predictions is not None
    assert {len(row) for row in result.predictions.logits} == {3}
    assert result.value("eval_pearson") is None
    assert contradictions(result, 2) == ()
