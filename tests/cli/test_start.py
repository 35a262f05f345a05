"""What every command costs before it does anything."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from harness.cli import COMMANDS
from tests.running.fakes import forked

HEAVY = ("torch", "transformers", "datasets", "evaluate", "numpy", "pandas", "pydantic", "scipy", "rich")


def imported(*lines: list[str]) -> set[str]:
    """The modules that command lines have imported when they end, one after the other in a new process."""
    script = (
        "import sys\nfrom harness.cli import main\n"
        f"for line in {lines!r}:\n"
        "    try:\n        main(line)\n    except SystemExit as ended:\n        assert not ended.code, line\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_and_version_import_nothing_heavy() -> None:
    assert imported(["--help"], ["--version"]).isdisjoint(HEAVY)


def test_no_command_needs_torch_to_say_what_it_does() -> None:
    loaded = imported(*([name, "--help"] for name in COMMANDS))
    assert loaded.isdisjoint({"torch", "transformers", "datasets", "evaluate", "pandas", "ray"})


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


def _started(how: str) -> list[str]:
    (entry,) = entry_points(group="console_scripts", name="harness")
    script = f"import sys; from {entry.module} import {entry.attr}; sys.exit({entry.attr}())"
    return [sys.executable, *(["-m", "harness"] if how == "module" else ["-c", script])]


_INTERRUPTED = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
except:
    pass
"""


@pytest.mark.parametrize("how", ["module", "script"])
@pytest.mark.parametrize("module", ["click", "platformdirs"])
def test_an_interrupt_while_modules_are_imported_ends_the_program(
    tmp_path: Path, how: str, module: str
) -> None:
    """Also where the module that is imported then swallows exceptions."""
    (tmp_path / f"{module}.py").write_text(_INTERRUPTED)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [*_started(how), "run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


@pytest.mark.parametrize("how", ["module", "script"])
def test_an_interrupt_that_an_import_raises_is_no_traceback(tmp_path: Path, how: str) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(_started(how), env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


def test_an_ignored_interrupt_does_not_end_the_imports(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(f"{_INTERRUPTED}raise ImportError('imported on')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *_started("module")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "imported on" in done.stderr
