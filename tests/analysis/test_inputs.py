"""Trials computed from different inputs are never averaged, compared or passed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.analysis.checks.inputs import conflicting_inputs
from harness.analysis.comparison.comparing import compare
from harness.analysis.gates.applying import check
from harness.analysis.over_time.noise import noise_of
from harness.analysis.peak_shares import rooflines
from harness.analysis.summary import summarize
from harness.errors import InvalidInputError, NotComparableError
from harness.model.measurements import measured
from harness.model.results import Report, TrialResult
from harness.model.tasks import Task
from harness.suite.gate_files import parse_gate
from tests.factories import make_checkpoint, make_data, make_predictions, make_report, make_result, make_trial
from tests.output.written import written

Change = Callable[[], dict[str, Any]]
# What one of three seeds was given instead, by condition.
OTHERS: dict[str, Change] = {
    "data": lambda: {"data": make_data(content_sha256="00" * 32)},
    "stand_in": lambda: {"checkpoint": make_checkpoint(stand_in=True)},
    "metric_version": lambda: {"metric_version": "glue/mrpc 2"},
    "examples": lambda: {
        "predictions": make_predictions().model_copy(update={"example_ids": tuple(range(100, 140))})
    },
    "labels": lambda: {"data": make_data(labels=("equivalent", "not_equivalent"))},
    "weights": lambda: {"checkpoint": make_checkpoint(weights_sha256="00" * 32)},
    "config": lambda: {"checkpoint": make_checkpoint(config_sha256="00" * 32)},
    "tokenizer": lambda: {"checkpoint": make_checkpoint(tokenizer_sha256="00" * 32)},
    "columns": lambda: {"checkpoint": make_checkpoint(columns=("input_ids", "attention_mask"))},
    "truncation": lambda: {"data": make_data(max_length=128)},
    "precision": lambda: {"checkpoint": make_checkpoint(dtype="bfloat16")},
}


def mixture(name: str, run: str = "mixed") -> Report:
    """Two sound seeds and one with other inputs, beside a variant that is sound."""
    return make_report(
        [
            make_result(make_trial("static", 0)),
            make_result(make_trial("dynamic", 0)),
            make_result(make_trial("dynamic", 1)),
            make_result(make_trial("dynamic", 2), **OTHERS[name]()),
        ],
        run=run,
    )


@pytest.mark.parametrize("name", OTHERS)
def test_a_variant_with_mixed_inputs_has_no_averages_and_a_remark(name: str) -> None:
    static, dynamic = summarize(mixture(name))
    assert (static.mixed, "eval_accuracy" in static.quality) == ({}, True)
    assert [*dynamic.mixed] == [name]
    assert (dynamic.quality, dynamic.speed, dynamic.train_seconds) == ({}, None, None)
    assert (dynamic.step_seconds_median, dynamic.padding_efficiency, dynamic.peak_memory_bytes) == (None,) * 3
    assert dynamic.completed == 3
    assert (static.rank, dynamic.rank) == (None, None)
    table = " ".join(written(mixture(name), "table").split())
    assert "mixed inputs: dynamic: not averaged, its trials differ in" in table
    assert "seed 0, 1" in table


@pytest.mark.parametrize("name", OTHERS)
def test_it_is_not_comparable_and_fails_a_check(name: str) -> None:
    sound = make_report([make_result(make_trial("dynamic", seed)) for seed in range(3)], run="sound")
    for reports in ((sound, mixture(name)), (mixture(name), sound)):
        with pytest.raises(NotComparableError, match="mixes inputs"):
            compare(reports)
    gates = [parse_gate("eval_accuracy>=0.1"), parse_gate("eval_accuracy drop<=0.5")]
    for baseline in (None, sound):
        found = check(mixture(name), baseline=baseline, gates=gates)
        assert found.exit_code == 1
        (case,) = [each for each in found.cases if each.kind == "inputs" and each.variant == "dynamic"]
        assert (case.rule, case.verdict) == ("one set of inputs", "failed")
        bounds = {each.variant: each.verdict for each in found.cases if each.kind == "bound"}
        assert bounds == {"static": "passed", "dynamic": "not comparable"}
    assert not [each for each in check(sound, gates=[]).cases if each.kind == "inputs"]


def test_documents_for_other_tools_leave_it_out() -> None:
    report = mixture("weights")
    assert [*json.loads(written(report, "bmf"))] == ["padding/static"]
    names = [each["name"] for each in json.loads(written(report, "pytest-benchmark"))["benchmarks"]]
    assert names == ["padding/static"]


def test_no_share_of_a_peak_is_averaged_over_it() -> None:
    share = measured("matmul_peak_share", 0.5)
    results = tuple(
        each.model_copy(update={"measurements": (*each.measurements, share)})
        for each in mixture("config").results
    )
    report = make_report(results)
    assert [*rooflines(report)] == [report.results[0].trial.variant_id]


def test_a_failed_trial_has_no_inputs_and_mixes_nothing() -> None:
    report = make_report([make_result(make_trial(seed=0)), make_result(make_trial(seed=1), status="oom")])
    (row,) = summarize(report)
    assert (row.mixed, "eval_accuracy" in row.quality) == ({}, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": make_data(content_sha256="00" * 32)}, "the data of glue/mrpc differ"),
        ({"data": make_data(labels=("equivalent", "not_equivalent"))}, "the data of glue/mrpc differ"),
        ({"data": make_data(longest=90)}, "the lengths of glue/mrpc with tiny-uncased"),
        ({"checkpoint": make_checkpoint(weights_sha256="00" * 32)}, "the files of tiny-uncased differ"),
        ({"checkpoint": make_checkpoint(tokenizer_sha256="00" * 32)}, "the files of tiny-uncased differ"),
    ],
)
def test_variants_of_one_task_and_checkpoint_read_the_same_files(
    change: dict[str, Any], message: str
) -> None:
    report = make_report([make_result(make_trial("static")), make_result(make_trial("dynamic"), **change)])
    (told,) = conflicting_inputs(report)
    assert told.startswith(message)
    assert "in static" in told
    assert "in dynamic" in told
    assert ["eval_accuracy" in row.quality for row in summarize(report)] == [True, True]
    assert "different inputs: " in " ".join(written(report, "table").split())
    (case,) = [each for each in check(report, gates=[]).cases if each.kind == "inputs"]
    assert (case.verdict, case.variant) == ("failed", "several variants")


def test_other_tasks_checkpoints_and_lengths_have_their_own_files() -> None:
    def made(trial: dict[str, Any], **changes: Any) -> TrialResult:
        return make_result(make_trial(**trial), **changes)

    report = make_report(
        [
            made({}),
            made({"checkpoint": "other"}, checkpoint=make_checkpoint(weights_sha256="00" * 32)),
            made({"task": Task(config="rte")}, data=make_data(content_sha256="00" * 32)),
            made({"task": Task(max_length=128)}, data=make_data(max_length=128)),
        ]
    )
    assert conflicting_inputs(report) == ()


def test_a_proof_is_of_the_files_that_were_trained() -> None:
    other = make_result(make_trial("dynamic"), checkpoint=make_checkpoint(config_sha256="00" * 32))
    report = make_report([make_result(make_trial("dynamic"))], proofs=(other,))
    (told,) = conflicting_inputs(report)
    assert "proof of" in told


def test_noise_is_of_runs_with_the_same_inputs() -> None:
    reports = [make_report([make_result(**changes)]) for changes in ({}, OTHERS["weights"]())]
    with pytest.raises(InvalidInputError, match="the runs had different inputs: the checkpoint's weights"):
        noise_of(reports)
