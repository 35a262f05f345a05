"""The examples in docstrings give the results that they show."""

from __future__ import annotations

import doctest
from importlib import import_module
from typing import Final

import pytest

MODULES: Final = (
    "harness.words",
    "harness.model.metrics",
    "harness.output.numbers",
    "harness.output.safe_text",
    "harness.analysis.naming",
    "harness.analysis.stats.components",
    "harness.analysis.stats.machine_states",
    "harness.analysis.stats.ratios",
    "harness.analysis.stats.scoring",
    "harness.analysis.stats.tests",
    "tools.prose",
    "tools.structure",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_right(name: str) -> None:
    result = doctest.testmod(import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
