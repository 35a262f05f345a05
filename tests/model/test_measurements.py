"""Packed measurements are those of a tuple: items, medians, JSON, equality and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.measurements import (
    Layout,
    Measurement,
    PackedMeasurements,
    measured,
    reasons_of,
    unmeasured,
)
from harness.model.results import TrialResult
from tests.factories import make_result

Values = list[float]

NUMBERS = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=9)


def made(steps: Values, losses: Values, total: float) -> tuple[Measurement, ...]:
    return (
        measured("train_step_seconds", *steps),
        unmeasured("energy_joules", "no counter"),
        measured("train_step_loss", *losses),
        measured("train_seconds", total),
    )


def packed(found: Sequence[Measurement]) -> PackedMeasurements:
    layout = Layout.of(found, [len(each.values) for each in found])
    return PackedMeasurements(layout, chain.from_iterable(each.values for each in found))


@given(NUMBERS, NUMBERS, st.floats(0.001, 1e6))
def test_packed_measurements_are_those_of_a_tuple(
    steps: list[float], losses: list[float], total: float
) -> None:
    plain = made(steps, losses, total)
    found = packed(plain)
    assert tuple(found) == plain
    assert found == plain
    assert plain == found
    assert hash(found) == hash(plain)
    assert repr(found) == repr(plain)
    assert found[-1] == plain[-1]
    assert found[1:3] == plain[1:3]
    assert found.reasons == reasons_of(plain) == {"energy_joules": "no counter"}
    assert len(found) == len(plain)
    assert pickle.loads(pickle.dumps(found)) == plain
    # Where other trials have other values, but as many.
    layout = Layout.of(made([1.0] * len(steps), [2.0] * len(losses), 3.0), [len(e.values) for e in plain])
    assert PackedMeasurements(layout, chain.from_iterable(each.values for each in plain)) == plain


@given(NUMBERS, NUMBERS, st.floats(0.001, 1e6))
def test_a_result_has_the_same_numbers_and_json(
    steps: list[float], losses: list[float], total: float
) -> None:
    plain = make_result(measurements=made(steps, losses, total))
    found = make_result(measurements=packed(plain.measurements))
    assert isinstance(found.measurements, PackedMeasurements)
    assert found == plain
    assert found.model_dump_json() == plain.model_dump_json()
    assert TrialResult.model_validate_json(found.model_dump_json()) == found
    for metric in ("train_step_seconds", "energy_joules", "train_step_loss", "train_seconds", "eval_f1"):
        assert found.value(metric) == plain.value(metric)
        assert found.measurement(metric) == plain.measurement(metric)


def test_a_metric_occurs_once() -> None:
    with pytest.raises(ValueError, match="occurs twice"):
        packed([measured("eval_f1", 0.5), measured("eval_f1", 0.6)])
