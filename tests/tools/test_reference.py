"""The reference page of axes is up to date, and explains every value."""

from __future__ import annotations

import pytest

from harness.model.axis import axes_of, names_of_values
from harness.model.trial import Trial
from tools.reference.axes import BEGIN, END, PAGE, README, axes_page, readme_block, with_block


def test_the_page_of_axes_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == axes_page(), "run: python -m tools.reference.axes"


def test_the_list_of_axes_in_the_readme_is_up_to_date() -> None:
    shown = README.read_text(encoding="utf-8")
    assert shown == with_block(shown, readme_block()), "run: python -m tools.reference.axes"


def test_the_list_in_the_readme_names_every_axis() -> None:
    block = readme_block()
    assert [name for name in axes_of(Trial) if f"`{name.removeprefix('train.')}`" not in block] == []


def test_a_block_is_replaced_between_its_marks_only() -> None:
    text = f"a\n{BEGIN}\nold\n{END}\nb\n"
    assert with_block(text, "new") == f"a\n{BEGIN}\nnew\n{END}\nb\n"


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_text_without_exactly_one_pair_of_marks_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="mark one block"):
        with_block(text, "new")


@pytest.mark.parametrize("name", [name for name in axes_of(Trial) if "." not in name])
def test_every_value_of_an_axis_has_one_meaning(name: str) -> None:
    axis = axes_of(Trial)[name]
    assert tuple(axis.values) == names_of_values(axis)
