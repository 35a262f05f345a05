"""The axis `task`: every trial has its task, and trials of different tasks are never put together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from harness.analysis.comparison.comparing import compare
from harness.analysis.gates.applying import check
from harness.analysis.gates.cases import GateCase
from harness.analysis.naming import describe, labels
from harness.analysis.over_time.noise import suite_of
from harness.analysis.parity import function_of
from harness.analysis.summary import summarize
from harness.assets.places import Note
from harness.errors import InvalidInputError
from harness.model.assets import ResolvedCheckpoint, ResolvedData
from harness.model.inspection import InspectionAnswer, InspectionRequest
from harness.model.results import Report
from harness.model.suite import Gate, Suite
from harness.model.tasks import Limit, Task
from harness.model.trial import Trial
from harness.model.values import PaddingStrategy
from harness.output.builders.planned_trials import trial_columns
from harness.output.builders.report import report_document
from harness.output.formats.known_formats import render
from harness.running.scheduler import SameError
from harness.running.sides.turns import turns_along, turns_of_sides
from harness.running.workers.inspection_process import Wanted, inspect_suite
from harness.suite.matrix import expand
from harness.suite.suite_file import parse_suite
from harness.suite.suite_schema import suite_schema
from tests.factories import make_data, make_report, make_result, make_suite, make_trial

RTE = Task(config="rte")
COLA = Task(config="cola", text=("sentence",))
STSB = Task(config="stsb", kind="regression")
TEXT = """
name: tasks
matrix:
  checkpoint: [a]
  task: [glue/mrpc, glue/cola, {dataset: nyu-mll/glue, config: stsb, limit: {train: 8}}]
  padding: [static, dynamic]
"""


def read(text: str = TEXT, *overrides: str) -> Suite:
    return parse_suite(text, "s.yaml", overrides)


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        expand(read(text, *overrides), ["cpu"])
    return f"{caught.value.message} {caught.value.hint}"


def of_tasks(*tasks: Task, shift: float = 0.0, run: str = "one", **suite: Any) -> Report:
    """Three seeds of two paddings of each task, dynamic padding with less accuracy."""
    paddings: tuple[PaddingStrategy, ...] = ("static", "dynamic")
    results = [
        make_result(
            make_trial(padding, seed, task=task),
            accuracy=0.9 - (shift if padding == "dynamic" else 0.0),
            data=make_data(content_sha256=f"{place:02}" * 32),
        )
        for place, task in enumerate(tasks)
        for seed in range(3)
        for padding in paddings
    ]
    made = make_suite(matrix=make_suite().matrix | {"task": tasks}, **suite)
    return make_report(results, suite=made, run=run)


def test_every_trial_has_its_task_with_the_columns_of_glue() -> None:
    suite = read()
    trials = expand(suite, ["cpu"])
    assert [trial.task.name for trial in trials] == [
        *["glue/mrpc"] * 2,
        *["glue/cola"] * 2,
        *["glue/stsb"] * 2,
    ]
    assert trials[2].task == COLA
    assert trials[4].task == STSB.model_copy(update={"limit": Limit(train=8)})
    assert suite.tasks == tuple(dict.fromkeys(trial.task for trial in trials))
    alone = "name: x\ntask: glue/cola\nmatrix: {checkpoint: [a], padding: [static, dynamic]}\n"
    assert expand(read(alone), ["cpu"]) == trials[2:4]


def test_the_axis_survives_json_and_one_task_is_written_as_before() -> None:
    suite = read()
    again = Suite.model_validate_json(suite.model_dump_json())
    assert again == suite
    assert expand(again, ["cpu"]) == expand(suite, ["cpu"])
    assert json.loads(suite.model_dump_json())["matrix"]["task"][0] == "glue/mrpc"
    one = read("name: x\ntask: glue/rte\nmatrix: {checkpoint: [a], padding: [static]}\n")
    assert "task" not in one.matrix
    assert one.tasks == (one.task,)
    classes = {"dataset": "nyu-mll/glue", "config": "stsb", "kind": "classification"}
    odd = read(json.dumps({"name": "x", "matrix": {"checkpoint": ["a"], "task": [classes]}}))
    assert Suite.model_validate_json(odd.model_dump_json()) == odd


def test_include_and_exclude_choose_tasks() -> None:
    text = f"{TEXT}exclude: [{{task: glue/cola, padding: static}}]\n"
    trials = expand(read(text), ["cpu"])
    assert [trial.task.name for trial in trials].count("glue/cola") == 1
    added = "name: x\ntask: glue/mrpc\nmatrix: {checkpoint: [a], padding: [static]}\n"
    both = read(f"{added}include: [{{task: glue/rte}}]\n")
    assert [task.name for task in both.tasks] == ["glue/mrpc", "glue/rte"]
    assert [trial.task for trial in expand(both, ["cpu"])] == [Task(), RTE]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{TEXT}task: glue/mrpc\n", "s.yaml:7:1: task has no effect: the matrix has the axis task"),
        (TEXT.replace("glue/cola", "glue/colla"), "s.yaml:5:21: unknown task 'glue/colla'.*mean glue/cola"),
        (TEXT.replace("glue/cola", "{config: cola, txt: a}"), "unknown key 'txt'.*did you mean text"),
        (TEXT.replace("glue/cola", "glue/mrpc"), "'glue/mrpc' again on the axis task"),
        (TEXT.replace("glue/cola", "3"), "task must be a mapping; found the number 3"),
        (TEXT.replace("  task:", "  dataset:"), "unknown axis 'dataset'.*did you mean task"),
        (f"{TEXT}train: {{label_smoothing_factor: 0.1}}\n", "label_smoothing_factor is for classes"),
        (f"{TEXT}reference: {{eval_f1: 0.9}}\n", "the numbers of one task, and the suite has 3"),
        (f"{TEXT}gates: [{{metric: eval_f1, min: 0.8}}]\n", "glue/stsb has no such score; limit the gate"),
        (f"{TEXT}gates: [{{metric: eval_f1, min: 0.8, task: glue/rte}}]\n", "suite has no task 'glue/rte'"),
        (
            TEXT.replace("glue/cola", "{dataset: a, text: [b], data_dir: c}").replace(
                "glue/mrpc", "{dataset: a, text: [b], data_dir: d}"
            ),
            "two tasks are both a, and no setting but data_dir",
        ),
    ],
)  # fmt: skip
def test_a_wrong_axis_is_refused(text: str, expected: str) -> None:
    assert re.search(expected, refusal(text)), refusal(text)


def test_an_override_of_the_axis_replaces_the_task_of_the_file() -> None:
    text = "name: x\ntask: glue/mrpc\nmatrix: {checkpoint: [a], padding: [static]}\n"
    trials = expand(read(text, "matrix.task=[glue/rte, glue/cola]"), ["cpu"])
    assert [trial.task for trial in trials] == [RTE, COLA]
    assert "task has no effect" in refusal(text, "matrix.task=[glue/rte]", "task.max_length=64")


def test_the_schema_and_the_plan_have_the_axis() -> None:
    validator = Draft202012Validator(suite_schema())
    assert validator.is_valid(
        {"name": "x", "matrix": {"checkpoint": ["a"], "task": ["glue/rte", {"config": "x"}]}}
    )
    assert not validator.is_valid({"name": "x", "matrix": {"checkpoint": ["a"], "task": ["rte"]}})
    trials = expand(read(), ["cpu"])
    columns = [column.title for column in trial_columns(trials)]
    assert "task" in columns
    assert "text" not in columns
    assert "task" not in [column.title for column in trial_columns(trials[:2])]


def test_labels_name_the_task_and_no_setting_that_it_implies() -> None:
    trials = expand(read(), ["cpu"])
    assert list(labels(trials).values()) == [
        f"{task} {padding}"
        for task in ("glue/mrpc", "glue/cola", "glue/stsb")
        for padding in ("static", "dynamic")
    ]
    assert describe(make_trial(task=RTE)) == "tiny-uncased glue/rte dynamic cpu fp32 trainer attention=auto"
    assert describe(make_trial()) == "tiny-uncased dynamic cpu fp32 trainer attention=auto"
    lengths = [make_trial(task=Task(max_length=length)) for length in (64, 128)]
    assert list(labels(lengths).values()) == ["max_length=64", "max_length=128"]


def test_each_task_has_a_proof_of_function_and_its_own_equal_errors() -> None:
    trials = expand(read(), ["cpu"])
    assert len({function_of(trial).id for trial in trials}) == 6
    assert expand(suite_of(trials[2], read()), ["cpu"]) == (trials[2],)
    errors = SameError(trials, 2)
    for trial in trials[:2]:
        errors.add(make_result(trial, status="failed"))
    assert (
        errors.skip_reason(trials[0])
        == "not run: all 2 trials with task glue/mrpc ended with failed in train: the trial was failed"
    )
    assert errors.skip_reason(trials[2]) is None


def test_a_report_shows_the_metrics_of_each_task_and_ranks_within_it() -> None:
    report = of_tasks(Task(), COLA)
    document = report_document(report)
    assert document.title == "padding: 4 variants, 12 trials of glue/mrpc and glue/cola"
    titles = [column.title for column in document.tables[0].columns]
    assert {"accuracy", "F1", "MCC"} <= set(titles)
    assert [row.label for row in summarize(report)] == [
        f"{task} {padding}" for task in ("glue/mrpc", "glue/cola") for padding in ("static", "dynamic")
    ]
    assert "glue/cola" in render(document, "html")
    assert render(document, "csv").count("glue/cola") == 6


def test_comparisons_pair_and_pool_within_a_task_alone() -> None:
    report = of_tasks(Task(), COLA, shift=0.5)
    found = compare([report], by="padding")
    single = [row for row in found.rows if row.variants == 1]
    assert [(row.variant, row.metric) for row in single] == [
        ("glue/mrpc", "eval_accuracy"),
        ("glue/mrpc", "eval_f1"),
        ("glue/mrpc", "train_real_tokens_per_second"),
        ("glue/cola", "eval_mcc"),
        ("glue/cola", "train_real_tokens_per_second"),
    ]
    assert not [row for row in found.rows if row.variants > 1]
    with pytest.raises(InvalidInputError, match="trials of different tasks are not compared"):
        compare([report], by="task")


def test_summaries_over_variants_are_of_one_task() -> None:
    results = [
        result.model_copy(update={"trial": result.trial.model_copy(update={"checkpoint": checkpoint})})
        for checkpoint in ("a", "b")
        for result in of_tasks(Task(), RTE, shift=0.5).results
    ]
    report = make_report(results, suite=of_tasks(Task(), RTE).suite)
    found = compare([report], by="padding", metrics=["eval_accuracy"])
    assert [row.variant for row in found.rows if row.variants > 1] == [
        "all 2 variants of glue/mrpc",
        "all 2 variants of glue/rte",
    ]


def test_gates_judge_the_trials_of_their_task() -> None:
    report, worse = of_tasks(Task(), COLA), of_tasks(Task(), COLA, shift=0.6, run="two")

    def cases(gate: Gate, **terms: Any) -> list[GateCase]:
        return [case for case in check(worse, gates=[gate], **terms).cases if case.kind in ("bound", "drop")]

    bound = cases(Gate(metric="eval_accuracy", min=0.5, task="glue/cola"))
    assert [(case.variant, case.rule) for case in bound] == [
        ("glue/cola static", "eval_accuracy of glue/cola >= 0.5"),
        ("glue/cola dynamic", "eval_accuracy of glue/cola >= 0.5"),
    ]
    drop = cases(Gate(metric="eval_accuracy", max_drop=0.02, task="glue/cola"), baseline=report)
    assert [(case.variant, case.verdict) for case in drop] == [
        ("glue/cola static", "passed"),
        ("glue/cola dynamic", "failed"),
    ]
    (none,) = cases(Gate(metric="eval_accuracy", min=0.5, task="glue/rte"))
    assert (none.verdict, none.reason) == ("failed", "the report has no trial of glue/rte")
    every = cases(Gate(metric="eval_accuracy", min=0.5))
    assert len(every) == 4


def test_turns_pair_no_trials_of_different_tasks() -> None:
    one, other = [make_trial()], [make_trial(task=RTE)]
    with pytest.raises(InvalidInputError, match="different tasks"):
        turns_of_sides(one, other)
    with pytest.raises(InvalidInputError, match="different tasks"):
        turns_along([*one, *other], "task")


def test_a_folder_in_any_task_is_redacted_and_merged(tmp_path: Path) -> None:
    folder = str(tmp_path)
    suite = make_suite(
        task=Task(data_dir=folder),
        matrix=make_suite().matrix | {"task": (Task(data_dir=folder),)},
        include=({"task": Task(config="rte", data_dir=folder)},),
    )
    plain = suite.with_tasks(lambda task: task.model_copy(update={"data_dir": None}))
    assert folder in suite.model_dump_json()
    assert folder not in plain.model_dump_json()
    assert make_suite().with_tasks(lambda task: task) == make_suite()


def test_a_trial_of_one_task_keeps_its_id() -> None:
    assert Trial.model_validate(make_trial().model_dump()).id == make_trial().id


class _Assets:
    def checkpoint(self, name: str, revision: str | None, note: Note) -> ResolvedCheckpoint:
        return ResolvedCheckpoint(requested=name, name=name, source="local", path="/x", revision=revision)

    def data(self, task: Task, note: Note) -> ResolvedData:
        return ResolvedData(requested=task.name, name=task.name, source="folder", layout="files", files={})


def test_an_inspection_is_of_the_first_task_and_names_the_others() -> None:
    asked: list[InspectionRequest] = []
    notes: list[str] = []

    def inspector(request: InspectionRequest) -> InspectionAnswer:
        asked.append(request)
        return InspectionAnswer(reason="nothing here")

    with pytest.raises(InvalidInputError, match="nothing here"):
        inspect_suite(read(), _Assets(), wanted=Wanted(), note=notes.append, inspector=inspector)
    (request,) = asked
    assert [(job.trial.task, job.data.name) for job in request.jobs] == [(Task(), "glue/mrpc")] * 2
    assert notes == [
        "inspecting glue/mrpc; -s 'matrix.task=[...]' chooses another one: glue/cola, glue/stsb",
    ]
