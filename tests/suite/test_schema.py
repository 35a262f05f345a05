from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from harness.errors import InvalidInputError
from harness.suite.suite_file import parse_suite
from harness.suite.suite_schema import suite_schema

SCHEMA = suite_schema()
SMALL: dict[str, Any] = {"name": "x", "matrix": {"checkpoint": ["a"]}}


def accepted_by_schema(suite: dict[str, Any]) -> bool:
    return Draft202012Validator(SCHEMA).is_valid(suite)


def accepted_by_reader(suite: dict[str, Any]) -> bool:
    try:
        parse_suite(json.dumps(suite), "suite.yaml")
    except InvalidInputError:
        return False
    return True


def test_the_schema_is_valid_itself() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    "change",
    [
        {"task": "glue/mrpc"},
        {"task": {"dataset": "d", "config": None, "text": ["a"], "max_length": 64}},
        {"matrix": {"checkpoint": ["a", {"name": "b", "revision": "c"}]}},
        {"matrix": {"checkpoint": ["a"], "padding": ["static", {"strategy": "static", "length": 64}]}},
        {"matrix": {"checkpoint": ["a"], "device": ["cpu", "cuda:1", "auto"], "seed": [0, 3]}},
        {"matrix": {"checkpoint": ["a"], "train.learning_rate": [1e-5, 1]}},
        {"include": [{"padding": "static"}], "exclude": [{"device": "cpu"}]},
        {"gates": [{"metric": "eval_f1", "max_drop": "10%"}, {"metric": "eval_f1", "min": 0.5}]},
        {"reference": {"eval_f1": 0.9}, "measure": {"threads": None}, "max_trials": 5},
    ],
)
def test_what_the_reader_accepts_the_schema_accepts(change: dict[str, Any]) -> None:
    suite = {**SMALL, **change}
    assert accepted_by_schema(suite)
    if "exclude" not in change:
        assert accepted_by_reader(suite)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a/b"},
        {"epochs": 3},
        {"task": "mrpc"},
        {"matrix": {}},
        {"matrix": {"checkpoint": []}},
        {"matrix": {"checkpoint": "a"}},
        {"matrix": {"checkpoint": ["a"], "seed": [0, 0]}},
        {"matrix": {"checkpoint": ["a"], "padding": ["longest"]}},
        {"matrix": {"checkpoint": ["a"], "device": ["gpu"]}},
        {"matrix": {"checkpoint": ["a"], "colour": ["red"]}},
        {"train": {"learning_rate": 0}},
        {"train": {"learning_rate": "1e-5"}},
        {"gates": [{"metric": "f1", "min": 0.5}]},
        {"reference": {"f1": 0.9}},
        {"include": [{}]},
        {"max_trials": 100_001},
    ],
)
def test_what_the_schema_refuses_the_reader_refuses(change: dict[str, Any]) -> None:
    suite = {**SMALL, **change}
    assert not accepted_by_schema(suite)
    assert not accepted_by_reader(suite)


VALUES = st.sampled_from(
    ["a", "static", "auto", "cpu", "fp32", 0, 1, 8, 0.5, None, True, {"strategy": "static"}]
)


@given(
    st.dictionaries(
        st.sampled_from([*SCHEMA["properties"]["matrix"]["properties"]]), st.lists(VALUES, max_size=2)
    )
)
def test_a_matrix_that_the_reader_accepts_the_schema_accepts(matrix: dict[str, Any]) -> None:
    suite = {"name": "x", "matrix": matrix}
    if accepted_by_reader(suite):
        assert accepted_by_schema(suite)
