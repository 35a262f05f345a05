"""Build the JSON Schema of a suite file for editors, including short forms of values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from harness.model.arguments import Train
from harness.model.axis import Axis, axes_of, mapping_type, short_type
from harness.model.metrics import METRICS, OWN, metrics_of
from harness.model.suite import Gate, Measure, OwnMetric, Suite
from harness.model.tasks import TASKS, Task
from harness.model.trial import Trial

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SCORES: Final = "|".join(score.removeprefix("eval_") for score in metrics_of("quality"))
SCORE_OF_SPLIT: Final = f"^eval_.+_({_SCORES})$"

Schema = dict[str, Any]


def suite_schema(trial: type[Trial] = Trial) -> Schema:
    """Return the JSON Schema (2020-12) of a suite file.

    The reader checks more than a schema can express, for example that a metric has a direction.
    """
    axes = axes_of(trial)
    own = Suite.model_json_schema()["properties"]
    definitions: Schema = models_json_schema(
        [(model, "validation") for model in (Task, Train, Measure, Gate, OwnMetric)],
    )[1]["$defs"]
    definitions["Gate"]["properties"]["metric"] = {
        "anyOf": [
            {"enum": list(METRICS)},
            {"type": "string", "pattern": f"^{re.escape(OWN)}."},
            {"type": "string", "pattern": SCORE_OF_SPLIT},
        ]
    }
    task = {"anyOf": [{"enum": list(TASKS)}, _reference("Task")]}
    definitions |= {name: _axis_value(axis) for name, axis in axes.items() if name != "task"}
    definitions["task"] = {"description": axes["task"].meaning, **task}
    return {
        "$schema": DIALECT,
        "title": "A suite of harness",
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "matrix"],
        "properties": {
            "name": own["name"],
            "task": task,
            "matrix": _matrix(axes),
            "include": _entries(
                axes, "trials in addition; axes left out take all their values of the matrix"
            ),
            "exclude": _entries(axes, "trials to leave out: those that equal every value given"),
            "train": _reference("Train"),
            "measure": _reference("Measure"),
            "reference": {
                "description": "published or expected values of metrics",
                "type": "object",
                "additionalProperties": False,
                "properties": {metric: {"type": "number"} for metric in METRICS},
                "patternProperties": {SCORE_OF_SPLIT: {"type": "number"}},
            },
            "metrics": {"type": "array", "items": _reference("OwnMetric")},
            "gates": {"type": "array", "items": _reference("Gate")},
            "allow_weights": own["allow_weights"],
            "max_trials": own["max_trials"],
        },
        "$defs": definitions,
    }


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _axis_value(axis: Axis) -> Schema:
    mapping = mapping_type(axis)
    forms = [form.json_schema() for form in (short_type(axis), mapping) if form is not None]
    meaning = {"description": axis.meaning}
    return forms[0] | meaning if len(forms) == 1 else meaning | {"anyOf": forms}


def _matrix(axes: Mapping[str, Axis]) -> Schema:
    return {
        "description": "the axes whose every combination becomes a trial",
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, axis in axes.items() if axis.required],
        "properties": {
            name: {
                "description": axis.meaning,
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": _reference(name),
            }
            for name, axis in axes.items()
        },
    }


def _entries(axes: Mapping[str, Axis], description: str) -> Schema:
    entry = {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": {name: _reference(name) for name in axes},
    }
    return {"description": description, "type": "array", "items": entry}
