from __future__ import annotations

import pickle
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.model.arrays import Logits, Numbers
from harness.model.frozen import Frozen


class Holder(Frozen):
    logits: Logits


class Plain(Frozen):
    logits: tuple[tuple[float, ...], ...]


ROWS = st.integers(1, 4).flatmap(
    lambda classes: st.lists(
        st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * classes), min_size=1, max_size=20
    )
)


@given(ROWS)
def test_json_and_schema_are_those_of_nested_tuples(rows: list[tuple[float, ...]]) -> None:
    compact, plain = Holder(logits=Logits(rows)), Plain(logits=tuple(rows))
    assert compact.model_dump_json() == plain.model_dump_json()
    assert compact.model_dump(mode="json") == plain.model_dump(mode="json")
    again = Holder.model_validate_json(compact.model_dump_json())
    assert again == compact
    assert again.logits == tuple(rows)
    assert hash(again.logits) == hash(compact.logits)
    assert list(again.logits) == rows
    assert again.logits[-1] == rows[-1]
    assert again.logits[:2] == tuple(rows[:2])
    assert np.asarray(again.logits).tolist() == [list(row) for row in rows]
    for mode in ("validation", "serialization"):
        schemas = [model.model_json_schema(mode=mode)["properties"] for model in (Holder, Plain)]
        assert schemas[0] == schemas[1]


def test_a_ragged_row_is_named() -> None:
    with pytest.raises(ValueError, match="row 1 of logits has 1 numbers, the first one has 2"):
        Logits([(0.0, 1.0), (2.0,)])


@pytest.mark.parametrize("given", ['{"logits": [["a"]]}', '{"logits": 3}', '{"logits": [[true]]}'])
def test_what_is_no_number_is_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        Holder.model_validate_json(given)
    with pytest.raises(ValidationError):
        Plain.model_validate_json(given)


def test_it_survives_pickling() -> None:
    logits = Logits([(0.5, -0.5)])
    assert pickle.loads(pickle.dumps(logits)) == logits


def test_numpy_reads_the_same_memory_and_cannot_write_to_it() -> None:
    logits, numbers = Logits([(0.5, -0.5), (1.0, 2.0)]), Numbers([0.5, 2.0])
    first, again = np.asarray(logits), np.asarray(logits)
    assert np.shares_memory(first, again)
    assert np.asarray(numbers).tolist() == [0.5, 2.0]
    assert np.asarray(Numbers([])).size == 0
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1.0
    # The array keeps its numbers alive.
    del logits, again
    assert first.tolist() == [[0.5, -0.5], [1.0, 2.0]]


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20))
def test_the_median_is_that_of_the_standard_library(values: list[float]) -> None:
    numbers = Numbers(values)
    assert numbers.median == numbers.median == median(values)


def test_no_numbers_have_no_median() -> None:
    assert Numbers([]).median is None
