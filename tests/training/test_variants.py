"""Every value of an axis that changes the function of a model has its code, its meaning and its proof."""

from __future__ import annotations

from typing import Any

import pytest

from harness.analysis.parity import function_of
from harness.model.axis import axes_of, canonical, names_of_values, text, trial_fields, value_of, word
from harness.model.trial import Trial
from tests.factories import make_trial
from tools.reference.axes import axes_page

VALUES = [
    (name, value)
    for name, axis in axes_of(Trial).items()
    if axis.changes == "function" and "." not in name
    for value in names_of_values(axis)
]


@pytest.mark.heavy
@pytest.mark.parametrize(("name", "value"), VALUES, ids=lambda each: each)
def test_every_value_that_changes_the_function_has_its_code_or_is_the_plain_one(
    name: str, value: str
) -> None:
    from harness.training.variants.known_variants import VARIANTS  # noqa: PLC0415 - imports torch

    assert (f"{name}={value}" in VARIANTS) != (text(axes_of(Trial)[name].default) == value)


@pytest.mark.heavy
def test_every_entry_is_a_value_of_an_axis() -> None:
    from harness.training.variants.known_variants import VARIANTS  # noqa: PLC0415 - imports torch

    assert set(VARIANTS) <= {f"{name}={value}" for name, value in VALUES}


@pytest.mark.parametrize(("name", "value"), VALUES, ids=lambda each: each)
def test_every_value_that_changes_the_function_is_proved_and_documented(name: str, value: str) -> None:
    axis = axes_of(Trial)[name]
    written: Any = value == "true" if axis.default in (True, False) else value
    if (name, value) == ("attention", "kernel"):
        written = {"kernel": "owner/name", "revision": "0" * 40}
    fields = trial_fields({name: canonical(axis, written)}, axes_of(Trial))
    chosen = make_trial().model_copy(update=fields)
    assert word(value_of(function_of(chosen), axis)) == value
    assert f"| `{value}` | {axis.values[value]} |" in axes_page()
