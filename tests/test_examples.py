"""The workflow that a team can copy: valid YAML, commands that parse, red where a gate is red."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from harness.cli import cli

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
