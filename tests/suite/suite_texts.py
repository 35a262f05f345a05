"""Suites as text, and what reading one says against it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.errors import InvalidInputError
from harness.model.suite import Suite
from harness.suite.suite_file import parse_suite

MATRIX = "matrix: {checkpoint: [bert-base-uncased], padding: [dynamic], device: [cpu]}"
SMALL = f"name: small\n{MATRIX}\n"


def suite_with(rest: str = "", overrides: Sequence[str] = ()) -> Suite:
    """The small suite with further lines."""
    return parse_suite(SMALL + rest, "suite.yaml", overrides)


def refusals(text: bytes | str, overrides: Sequence[str] = ()) -> list[str]:
    """The lines of the one error that reading the text ends in."""
    with pytest.raises(InvalidInputError) as caught:
        parse_suite(text, "suite.yaml", overrides)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value.message.splitlines()


def refusal(text: bytes | str, overrides: Sequence[str] = ()) -> str:
    """The only line of that error."""
    lines = refusals(text, overrides)
    assert len(lines) == 1, lines
    return lines[0]


def refusal_with(rest: str, overrides: Sequence[str] = ()) -> str:
    """Why the small suite with further lines is refused."""
    return refusal(SMALL + rest, overrides)
