"""The JSON Schema of a suite file, including short forms, for completion and checks in editors."""

from __future__ import annotations

from typing import Any, Final

from pydantic.json_schema import models_json_schema

from harness.model.metrics import METRICS
from harness.model.suite import Gate, Measure, Suite
from harness.model.trial import Task, Train
from harness.suite.axes import AXES, mapping_type, short_type
from harness.suite.overrides import TASKS

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def suite_schema() -> Schema:
    """Return the JSON Schema (2020-12) of a suite file.

    The reader checks a little more than the schema, for example that a metric has a direction.
    """
    own = Suite.model_json_schema()["properties"]
    definitions: Schema = models_json_schema(
        [(model, "validation") for model in (Task, Train, Measure, Gate)],
    )[1]["$defs"]
    definitions["Gate"]["properties"]["metric"] = {"enum": list(METRICS)}
    definitions |= {axis: _axis_value(axis) for axis in AXES}
    return {
        "$schema": DIALECT,
        "title": "A suite of harness",
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "matrix"],
        "properties": {
            "name": own["name"],
            "task": {"anyOf": [{"enum": list(TASKS)}, _reference("Task")]},
            "matrix": _matrix(),
            "include": _entries("trials in addition; axes left out take all their values of the matrix"),
            "exclude": _entries("trials to leave out: those that equal every value given"),
            "train": _reference("Train"),
            "measure": _reference("Measure"),
            "reference": {
                "description": "published or expected values of metrics",
                "type": "object",
                "additionalProperties": False,
                "properties": {metric: {"type": "number"} for metric in METRICS},
            },
            "gates": {"type": "array", "items": _reference("Gate")},
            "allow_weights": own["allow_weights"],
            "max_trials": own["max_trials"],
        },
        "$defs": definitions,
    }


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _axis_value(axis: str) -> Schema:
    mapping = mapping_type(axis)
    forms = [form.json_schema() for form in (short_type(axis), mapping) if form is not None]
    meaning = {"description": AXES[axis].meaning}
    return forms[0] | meaning if len(forms) == 1 else meaning | {"anyOf": forms}


def _matrix() -> Schema:
    return {
        "description": "the axes whose every combination becomes a trial",
        "type": "object",
        "additionalProperties": False,
        "required": ["checkpoint"],
        "properties": {
            axis: {
                "description": known.meaning,
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": _reference(axis),
            }
            for axis, known in AXES.items()
        },
    }


def _entries(description: str) -> Schema:
    entry = {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": {axis: _reference(axis) for axis in AXES},
    }
    return {"description": description, "type": "array", "items": entry}
