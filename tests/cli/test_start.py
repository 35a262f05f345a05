"""What every command costs before it does anything."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness.cli import COMMANDS
from tests.running.fakes import forked

HEAVY = ("torch", "transformers", "datasets", "evaluate", "numpy", "pandas", "pydantic", "scipy", "rich")


def imported(*arguments: str) -> set[str]:
    """The modules that a command has imported when it ends."""
    script = (
        "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        f"from harness.cli import main; main({list(arguments)!r})"
    )
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(argument: str) -> None:
    assert imported(argument).isdisjoint(HEAVY)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_needs_torch_to_say_what_it_does(name: str) -> None:
    assert imported(name, "--help").isdisjoint({"torch", "transformers", "datasets", "evaluate", "pandas"})


def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
    return forked(*arguments, environment=os.environ)


def test_the_help_names_every_command_with_its_sentence() -> None:
    shown = " ".join(harness("--help").stdout.split())
    for name, sentence in COMMANDS.items():
        assert f"{name} {sentence}" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_of_its_own_without_layout_marks(name: str) -> None:
    done = harness(name, "--help")
    assert done.returncode == 0
    assert f"Usage: harness {name}" in done.stdout
    assert "\\b" not in done.stdout


def test_an_unknown_command_ends_with_2_and_its_name() -> None:
    done = harness("rnu")
    assert done.returncode == 2
    assert "rnu" in done.stderr
