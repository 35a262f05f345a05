"""Exit codes: each is declared once, and nowhere else is a code written as a number."""

from __future__ import annotations

import ast
import signal
from pathlib import Path

import pytest

import harness
from harness.errors import ExitCode, HarnessError, after_signal, exit_code


@pytest.mark.parametrize(
    ("passed", "interrupted", "code"),
    [(True, None, 0), (False, None, 1), (True, signal.SIGINT, 130), (False, signal.SIGTERM, 143)],
)
def test_a_command_that_did_its_work(passed: bool, interrupted: int | None, code: int) -> None:
    assert exit_code(passed=passed, interrupted=interrupted) == code


def test_the_code_of_an_error_is_one_of_the_declared_codes_and_prints_as_a_number() -> None:
    kinds: list[type[HarnessError]] = [HarnessError, *HarnessError.__subclasses__()]
    assert {kind.exit_code for kind in kinds} <= set(ExitCode)
    assert f"{ExitCode.UNAVAILABLE}" == "69"


def _numbers_returned(path: Path) -> list[int]:
    """The whole numbers above 1 that functions of this file return."""
    return [
        node.value.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Return)
        and isinstance(node.value, ast.Constant)
        and type(node.value.value) is int
        and node.value.value > 1
    ]


def test_no_command_writes_a_code_as_a_number() -> None:
    commands = (Path(harness.__file__).parent / "cli").rglob("*.py")
    assert {path.name: found for path in commands if (found := _numbers_returned(path))} == {}
    assert after_signal(signal.SIGTERM) == 143
