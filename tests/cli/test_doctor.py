"""`harness doctor`: a line each, valid JSON, and the exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.running.fakes import environ


def doctor(*arguments: str, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    changes = {"HARNESS_CACHE_DIR": str(cwd / "cache"), "HF_HUB_OFFLINE": "1"} | changes
    command = [sys.executable, "-m", "harness", "doctor", *arguments]
    surroundings = environ(**changes)
    surroundings.pop("HARNESS_MRPC_DIR", None)
    return subprocess.run(command, cwd=cwd, env=surroundings, capture_output=True, text=True, check=False)


def test_a_machine_that_runs_the_tests_is_fit_and_every_line_begins_with_its_word(tmp_path: Path) -> None:
    done = doctor(cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    *lines, last = done.stdout.splitlines()
    assert last == "nothing here would stop a run"
    assert {line.split()[0] for line in lines if not line.startswith(" ")} <= {"ok", "warning"}
    assert list(tmp_path.iterdir()) == []


def test_what_would_stop_a_run_ends_with_69_and_json_says_the_same(tmp_path: Path) -> None:
    done = doctor("--json", "--reports", "/proc/nowhere", cwd=tmp_path)
    assert done.returncode == 69
    document = json.loads(done.stdout)
    assert document["exit_code"] == 69
    (problem,) = [found for found in document["findings"] if found["level"] == "problem"]
    assert "/proc/nowhere" in problem["what"]
    assert "--reports" in problem["advice"]


def test_no_home_is_no_obstacle(tmp_path: Path) -> None:
    done = doctor("--offline", cwd=tmp_path, HOME="/nonexistent", LC_ALL="C", HF_HOME="/proc/nowhere")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "/proc/nowhere" in done.stdout


def test_it_imports_nothing_that_trains(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom harness.cli import main\n"
        "try:\n    main(['doctor', '--offline'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'evaluate'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
