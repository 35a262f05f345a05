"""Keep what is private out of a run's files: a suite with a secret is refused, home folders are shortened."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from harness.errors import InvalidInputError
from harness.machine.redaction import holds_secret, redact
from harness.model.results import Report
from harness.model.suite import Suite
from harness.model.trial import Task


def refuse_secrets(suite: Suite, secrets: Sequence[str]) -> None:
    """Make sure that no value of the suite is a secret: it would stand in plans, results and reports.

    Raises:
        InvalidInputError: naming the key, not the value.
    """
    document = json.loads(suite.model_dump_json())
    for key, text in _texts("", document):
        if holds_secret(text, secrets):
            raise InvalidInputError(
                f"{key}: holds what looks like a password or token, which would be written into the report",
                hint="Take it out; log in by `hf auth login` or HF_TOKEN, which are never written.",
            )


def without_home(report: Report) -> Report:
    """The report with the user's home folder written as `~` where it says where data was read."""
    suite = report.suite.model_copy(update={"task": _shortened(report.suite.task)})
    if suite == report.suite and not any(result.trial.task.data_dir for result in report.results):
        return report
    results = tuple(
        result.model_copy(
            update={"trial": result.trial.model_copy(update={"task": _shortened(result.trial.task)})}
        )
        for result in report.results
    )
    return report.model_copy(update={"suite": suite, "results": results})


def _shortened(task: Task) -> Task:
    if task.data_dir is None:
        return task
    return task.model_copy(update={"data_dir": redact(task.data_dir)})


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every text in a JSON document, with the dotted key it stands under."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield key or "the suite", str(name)
            yield from _texts(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(key, inner)
