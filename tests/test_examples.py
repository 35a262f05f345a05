"""The examples: a workflow that a team can copy, and a suite with own data that needs no network."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from ruamel.yaml import YAML

from harness.cli import cli
from harness.store.reading import load_report
from tests.running.fakes import environ
from tools.headlines import FOLDER, ROWS, write

FILE = Path(__file__).parents[1] / "examples" / "github-actions.yml"


def workflow() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(FILE.read_text())
    return loaded


def steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = workflow()["jobs"]["regression"]["steps"]
    return found


def commands() -> list[str]:
    lines = [line for step in steps() for line in step.get("run", "").splitlines()]
    lines += re.findall(r"^# +(harness .*)$", FILE.read_text(), re.MULTILINE)
    variables = workflow()["env"]
    for name, value in variables.items():
        lines = [line.replace(f"${name}", value) for line in lines]
    return [line.partition(" > ")[0] for line in lines if line.startswith("harness ")]


def test_it_is_a_workflow_that_may_only_read() -> None:
    loaded = workflow()
    assert set(loaded) == {"name", "on", "permissions", "concurrency", "env", "jobs"}
    assert loaded["permissions"] == {"contents": "read"}
    assert loaded["jobs"]["regression"]["timeout-minutes"] > 0


def test_every_command_in_it_can_be_typed() -> None:
    assert {shlex.split(line)[1] for line in commands()} == {"run", "check", "show", "compare", "baseline"}
    for line in commands():
        _, name, *arguments = shlex.split(line)
        with click.Context(cli) as group:
            command = cli.get_command(group, name)
            assert command is not None
            if isinstance(command, click.Group):
                inner = command.get_command(group, arguments.pop(0))
                assert inner is not None
                command = inner
            with command.make_context(name, arguments, parent=group) as parsed:
                assert parsed.params


def test_only_the_check_decides_and_everything_is_kept() -> None:
    deciding = [
        step["name"]
        for step in steps()
        if "harness" in step.get("run", "") and not step.get("continue-on-error")
    ]
    assert deciding == ["Check"]
    (kept,) = (step for step in steps() if "upload-artifact" in step.get("uses", ""))
    assert kept["if"] == "${{ !cancelled() }}"
    assert {"report.json", "gates.xml"} <= set(kept["with"]["path"].split())


def test_the_suite_it_names_is_there_and_actions_have_versions() -> None:
    assert (FILE.parents[1] / workflow()["env"]["SUITE"]).exists()
    assert all(re.fullmatch(r"[\w./-]+@v\d+", step["uses"]) for step in steps() if "uses" in step)


def test_the_data_of_the_example_are_reproducible(tmp_path: Path) -> None:
    write(tmp_path)
    for split in ROWS:
        assert (tmp_path / f"{split}.csv").read_bytes() == (FOLDER / f"{split}.csv").read_bytes()


@pytest.mark.heavy
def test_the_suite_with_own_data_runs_on_a_stand_in_without_a_network(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "examples" / "own-data")
    suite = FOLDER / "suite.yaml"
    (command,) = re.findall(r"^# +harness (run .*)$", suite.read_text(), re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "harness", *shlex.split(command)],
        cwd=tmp_path,
        env=environ(HARNESS_CACHE_DIR=str(tmp_path / "cache"), HF_HUB_OFFLINE="1", NO_COLOR="1"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stand-in embedded/bert-uncased" in done.stdout + done.stderr
    (file,) = tmp_path.glob("reports/*/*/report.json")
    report = load_report(file)
    (own,) = report.own_metrics
    code = (FOLDER / "balanced_accuracy.py").read_bytes()
    assert own.version == f"balanced_accuracy.py sha256:{hashlib.sha256(code).hexdigest()}"
    for result in report.results:
        assert result.predictions is not None
        labels, logits = np.array(result.predictions.labels), np.array(result.predictions.logits)
        right = logits.argmax(axis=1) == labels
        recalls = [right[labels == label].mean() for label in range(3)]
        assert own.scores[result.trial.id].value == pytest.approx(np.mean(recalls))
        assert result.data is not None
        assert (result.data.name, result.data.source, result.data.synthetic) == ("headlines", "folder", False)
        assert result.data.labels == ("business", "crime", "sport")
        assert (result.data.train_examples, result.data.eval_examples) == (ROWS["train"], ROWS["validation"])
        accuracy = result.value("eval_accuracy")
        assert accuracy is not None
        assert accuracy > result.data.eval_majority_share + 0.2
