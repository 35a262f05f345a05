"""What a benchmark's JSON says of where it ran: the same allow-list as a report, no host name and no path."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from harness.machine.facts import describe_environment
from harness.machine.git_state import describe_git

_MOST_RAW_ROUNDS: Final = 200


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info.clear()
    machine_info.update(describe_environment().model_dump(mode="json", exclude={"git", "device", "threads"}))


def pytest_benchmark_generate_commit_info(config: pytest.Config) -> dict[str, Any]:
    git = describe_git(Path.cwd())
    return {} if git is None else git.model_dump(mode="json")


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]
) -> None:
    """Keep every round's time where they are few, and only what is derived from them where they are many."""
    for benchmark in output_json["benchmarks"]:
        if len(benchmark["stats"].get("data", ())) > _MOST_RAW_ROUNDS:
            del benchmark["stats"]["data"]
