"""How long it takes until a command does something: `--help`, and the plan of a suite, as processes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.measured import REPOSITORY


@pytest.mark.parametrize(
    "arguments", [("--help",), ("plan", "suites/padding.yaml", "--assets", "embedded")], ids=["help", "plan"]
)
def test_starting(benchmark: BenchmarkFixture, arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "harness", *arguments]
    done = benchmark.pedantic(  # type: ignore[no-untyped-call]  # the library's own
        lambda: subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False),
        rounds=10,
        warmup_rounds=1,
    )
    assert done.returncode == 0, done.stderr
