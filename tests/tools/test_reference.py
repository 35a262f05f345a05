"""The reference page of axes is up to date, and explains every value."""

from __future__ import annotations

import pytest

from harness.model.axis import axes_of, names_of_values
from harness.model.trial import Trial
from tools.reference.axes import PAGE, axes_page


def test_the_page_of_axes_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == axes_page(), "run: python -m tools.reference.axes"


@pytest.mark.parametrize("name", [name for name in axes_of(Trial) if "." not in name])
def test_every_value_of_an_axis_has_one_meaning(name: str) -> None:
    axis = axes_of(Trial)[name]
    assert tuple(axis.values) == names_of_values(axis)
