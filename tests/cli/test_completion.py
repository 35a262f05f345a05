"""Shell completion: commands, options, and the values of options."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from harness.cli import COMMANDS, COMPLETE, cli, main
from harness.model.metrics import METRICS
from harness.model.trial import AXES
from harness.suite.names import known_paths
from harness.suite.text import shipped_suites

# A shell that is not installed completes in no test, but its script must be printed.
SHELLS = ("bash", "zsh", "fish")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def completed(*words: str, last: str = "") -> list[str]:
    """The values offered for the last word of a command line."""
    items = ShellComplete(cli, {}, "harness", COMPLETE).get_completions(list(words), last)
    return [item.value for item in items if item.type == "plain"]


def test_commands_are_completed() -> None:
    assert completed() == list(COMMANDS)
    assert completed(last="com") == ["compare", "completion"]
    assert "--version" in completed(last="--")
    assert completed("baseline", last="s") == ["set", "show"]


@pytest.mark.parametrize("words", [("run",), ("plan",), ("ab", "padding"), ("calibrate",), ("prove",)])
def test_suites_are_completed(words: tuple[str, ...], folder: Path) -> None:
    assert completed(*words) == list(shipped_suites())
    (folder / "mine.yaml").touch()
    assert completed(*words, last="m") == ["mine"]


def test_values_of_options_are_completed(folder: Path) -> None:
    assert completed("compare", "--by") == list(AXES)
    assert completed("compare", "--metric", last="eval_a") == ["eval_accuracy"]
    assert completed("compare", "--metric") == list(METRICS)
    assert completed("run", "-s") == [f"{path}=" for path in known_paths()]
    assert completed("run", "quickstart", "--set", last="train.learn") == ["train.learning_rate="]
    assert completed("run", "--assets") == ["auto", "hub", "embedded"]
    for place in (folder / "reports", folder / "elsewhere"):
        (place / "baselines").mkdir(parents=True)
        (place / "baselines" / f"{place.name}.json").touch()
    assert completed("check", "x", "--baseline") == ["reports"]
    assert completed("check", "x", "--reports", "elsewhere", "--baseline") == ["elsewhere"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_asks_harness_for_completions(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["completion", shell])
    assert ended.value.code == 0
    assert f"{COMPLETE}={shell}_complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("harness com", {"compare", "completion"}),
        ("harness run quick", {"quickstart"}),
        ("harness run -s train.learn", {"train.learning_rate="}),
        ("harness compare --by pad", {"padding"}),
    ],
)
def test_bash_completes_by_the_script(typed: str, offered: set[str], folder: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    words = typed.split(" ")
    script = (
        f'compopt() {{ :; }}; eval "$(harness completion bash)"; COMP_WORDS=({typed}); '
        f'COMP_CWORD={len(words) - 1}; _harness_completion harness; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    (folder / "harness").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harness "$@"\n')
    (folder / "harness").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [bash, "--norc", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == offered, done.stderr
