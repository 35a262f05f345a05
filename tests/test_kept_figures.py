"""The figures that are kept: small files that say on what machine they were taken, and nothing private."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import pytest_benchmark_update_json, pytest_benchmark_update_machine_info
from tests.benchmarks.measured import REPOSITORY

KEPT = sorted((REPOSITORY / "reports" / "benchmarks").glob("*.json"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_a_kept_file_is_small_and_names_no_host_and_no_path(path: Path) -> None:
    text = path.read_text()
    assert len(text) < 200_000
    kept = json.loads(text)
    assert kept["benchmarks"]
    assert "node" not in kept["machine_info"]
    assert re.search(r'"/[a-z]+/|[ =]/(home|root|tmp|Users|work)/', text) is None


def test_a_machine_is_described_as_in_a_report(pytestconfig: pytest.Config) -> None:
    info: dict[str, Any] = {"node": "secret-host", "cpu": {"brand_raw": "x"}}
    pytest_benchmark_update_machine_info(pytestconfig, info)
    assert "secret-host" not in json.dumps(info)
    assert {"python", "system", "packages", "cpu", "load_average"} <= info.keys()


def test_raw_times_are_kept_where_they_are_few(pytestconfig: pytest.Config) -> None:
    few, many = {"stats": {"data": [1.0] * 3}}, {"stats": {"data": [1.0] * 1_000, "mean": 1.0}}
    pytest_benchmark_update_json(pytestconfig, [], {"benchmarks": [few, many]})
    assert few == {"stats": {"data": [1.0] * 3}}
    assert many == {"stats": {"mean": 1.0}}
