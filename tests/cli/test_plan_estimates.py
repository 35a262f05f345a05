"""`harness plan`: what a run will take, from the reports of earlier runs with workers of a fixed speed."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Call
from tests.running.fakes import fake_suite, run_fake, write_suite

pytestmark = pytest.mark.usefixtures("alone")


def planned(call: Call, *arguments: str | Path) -> dict[str, Any]:
    code, output, errors = call("plan", *arguments, "--assets", "embedded", "--json")
    assert code == 0, errors
    found: dict[str, Any] = json.loads(output)["estimate"]
    return found


def test_the_time_of_a_second_run_is_known_from_the_first(call: Call, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    suite = write_suite(tmp_path, (0, 1, 2))
    before = planned(call, suite)
    assert (before["to_run"], before["seconds"], len(before["unknown"])) == (3, None, 3)
    run_fake(fake_suite((0, 1, 2)), reports, "timed", parity=True)
    found = planned(call, suite, "--price", "3.6")
    alone = planned(call, suite, "--no-parity")
    assert alone["proof_seconds"] == {"low": 0, "high": 0}
    assert alone["seconds"]["high"] < found["seconds"]["high"]
    started = time.monotonic()
    run_fake(fake_suite((0, 1, 2)), reports, "timed", parity=True)
    real = time.monotonic() - started
    middle = math.sqrt(found["seconds"]["low"] * found["seconds"]["high"])
    assert real / 1.5 < middle < real * 1.5
    assert found["cost"]["high"] == pytest.approx(found["seconds"]["high"] / 1000)
    assert found["disk_bytes"]["low"] > 0
    assert found["host_memory_bytes"]["low"] < 512_000_000 < found["host_memory_bytes"]["high"]
    # One proof of the function and one of the training, of at least 0.1 s each; the second takes one core.
    assert 0.1 < found["proof_seconds"]["high"] < 2
    _, output, _ = call("plan", suite, "--assets", "embedded", "--price", "3.6")
    assert "  trials  3 to run, 0 reused, 0 unavailable\n" in output
    assert "  cost " in output


def test_an_unfinished_run_leaves_its_other_trials_and_those_of_missing_devices_are_unavailable(
    call: Call, tmp_path: Path
) -> None:
    run_fake(fake_suite((0, 1)), tmp_path / "reports")
    (run,) = (tmp_path / "reports").glob("fake/*/plan.json")
    (run.parent / "report.json").unlink()
    one = min((run.parent / "trials").iterdir())
    (one / "result.json").unlink()
    found = planned(call, write_suite(tmp_path, (0, 1)), "--no-parity")
    assert (found["to_run"], found["reused"], found["unavailable"]) == (1, 1, 0)
    assert [each["id"] for each in found["trials"]] == [one.name]
    found = planned(call, tmp_path / "fake.yaml", "-s", "matrix.device=[cpu, 'cuda:7']")
    assert (found["to_run"], found["unavailable"]) == (2, 2)
    (run.parent / "plan.json").write_text("{")
    assert "plan.json" in planned(call, tmp_path / "fake.yaml")["notes"][-1]


def test_reports_of_other_suites_with_the_checkpoint_count_and_damaged_ones_are_named(
    call: Call, tmp_path: Path
) -> None:
    run_fake(fake_suite((0,), name="other"), tmp_path / "reports")
    suite = write_suite(tmp_path, (5,))
    assert planned(call, suite)["unknown"] == []
    (report,) = (tmp_path / "reports").glob("other/*/report.json")
    report.write_text("{")
    found = planned(call, suite)
    assert len(found["unknown"]) == 1
    assert str(report.relative_to(tmp_path)) in found["notes"][-1]


def test_as_many_trainings_as_fit_need_windows_here_too(call: Call, tmp_path: Path) -> None:
    code, _, errors = call("plan", write_suite(tmp_path), "--assets", "embedded", "--jobs", "auto")
    assert code == 2
    assert "measure.separate=true" in errors
