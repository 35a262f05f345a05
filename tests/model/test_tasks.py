"""The metrics that views and comparisons show for a task of GLUE."""

from __future__ import annotations

import pytest

from harness.analysis.comparison.terms import default_metrics
from harness.model.tasks import Task, quality_headlines
from harness.output.progress import describe_result
from tests.factories import make_report, make_result, make_trial


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ("cola", ["MCC"]),
        ("mrpc", ["accuracy", "F1"]),
        ("qqp", ["accuracy", "F1"]),
        ("rte", ["accuracy"]),
        ("mnli", ["accuracy"]),
    ],
)
def test_a_task_of_glue_is_shown_by_its_own_metrics(config: str, shown: list[str]) -> None:
    result = make_result(make_trial(task=Task(config=config)))
    parts = describe_result(result).split(", ")
    assert [part.rpartition(" ")[0].removesuffix(" %").split(" ")[0] for part in parts[: len(shown)]] == shown
    compared = default_metrics([make_report([result])])
    assert [metric for metric in compared if metric.startswith("eval_")] == list(
        quality_headlines([result.trial.task])
    )


def test_another_data_set_is_shown_by_accuracy_and_f1() -> None:
    assert quality_headlines([Task(dataset="owner/set", config="cola")]) == ("eval_accuracy", "eval_f1")
