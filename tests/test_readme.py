"""Every command that the documents show is one that `harness` accepts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from harness.cli import cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "reports/README.md")


def commands() -> Iterator[str]:
    for name in DOCUMENTS:
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text(), re.DOTALL):
            lines = block.replace("\\\n", "").splitlines()
            yield from (line for line in lines if line.startswith("harness "))
    for suite in sorted((ROOT / "suites").glob("*.yaml")):
        comments = re.findall(r"^# +(harness .*)$", suite.read_text(), re.MULTILINE)
        yield from comments


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_a_command_that_is_shown_is_one_that_can_be_typed(line: str) -> None:
    _, name, *arguments = shlex.split(line, comments=True)
    with click.Context(cli) as group:
        command = cli.get_command(group, name)
        while isinstance(command, click.Group):
            name, *arguments = arguments
            command = command.get_command(group, name)
        assert command is not None
        # Parses every option and argument and runs nothing; a wrong one raises.
        with command.make_context(name, arguments, parent=group) as parsed:
            assert parsed.params


def test_no_placeholder_is_left() -> None:
    for name in DOCUMENTS:
        assert re.findall(r"^[A-Z]+_[A-Z_]+$", (ROOT / name).read_text(), re.MULTILINE) == []


def test_the_suites_of_the_readme_are_those_that_are_shipped() -> None:
    named = set(re.findall(r"\(suites/([a-z]+\.yaml)\)", (ROOT / "README.md").read_text()))
    assert named == {path.name for path in (ROOT / "suites").glob("*.yaml")}
