"""Every command that the documents show can be typed, and every one that needs no network or cluster is run.

Each page is run from top to bottom in a folder like a checkout in which a suite was run before. A fake runner
takes the place of training; `tests/cli/test_real_run.py` trains.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from harness.assets.places import cache_root
from harness.cli import cli
from harness.suite.matrix import expand
from harness.suite.suite_file import parse_suite
from tests.running.fakes import REPOSITORY, RUNNERS, environ, forked

PAGES: Final = [
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "reports/README.md", "docs/**/*.md")
    for path in sorted(REPOSITORY.glob(pattern))
]
# What is only parsed, and why.
NOT_RUN: Final = {
    r"^harness fetch": "downloads from the package index: tests/cli/test_fetch.py",
    r"--executor ray|--ray-address": "needs a Ray cluster: tests/running/test_ray_cluster.py",
    r"--executor slurm": "needs Slurm: tests/running/test_slurm.py",
    r"--to tensorboard": "needs a tracker's package: tests/output/test_trackers.py",
    r"--base \.\./main": "needs a second checkout: tests/cli/test_ab.py",
    r"^harness inspect": "imports transformers for seconds: tests/cli/test_inspect.py",
    r"^harness run examples/own-data": "trains in tests/test_examples.py",
    r"^harness rescore": "imports evaluate for seconds: tests/cli/test_rescore.py",
}
# The arguments by which a command takes a fake runner.
GOOD: Final = ("--runner", f"{RUNNERS}:good")
FAKES: Final = {
    "run": (*GOOD, "--no-parity"),
    "ab": (*GOOD, "--no-parity"),
    "calibrate": GOOD,
    "prove": ("--runner", f"{RUNNERS}:proving"),
}
# Exit codes of commands that judge fake proofs, this machine, or scores of stand-ins by a floor.
JUDGMENTS: Final = {"prove": (0, 1), "doctor": (0, 1), "check": (0, 3)}
PLACEHOLDER: Final = re.compile(r"(\S+/)(?:RUN|NEW|OLD)\b")


def commands_of(page: Path) -> list[str]:
    """The commands of a page in its order, with continued lines joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", "").splitlines()]
    return [line for line in lines if line.startswith("harness ")]


def commands_of_suites() -> Iterator[str]:
    for suite in sorted((REPOSITORY / "suites").glob("*.yaml")):
        yield from re.findall(r"^# +(harness .*)$", suite.read_text(encoding="utf-8"), re.MULTILINE)


def words(line: str) -> list[str]:
    """The arguments of a command, without a redirection of its output."""
    found = shlex.split(line, comments=True)[1:]
    return found[: found.index(">")] if ">" in found else found


def reason_not_to_run(line: str) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, line)), None)


WITH_COMMANDS: Final = [page for page in PAGES if commands_of(page)]


@pytest.mark.parametrize(
    "line", sorted({*(line for page in PAGES for line in commands_of(page)), *commands_of_suites()})
)
def test_a_command_that_is_shown_can_be_typed(line: str) -> None:
    name, *arguments = words(line)
    with click.Context(cli) as group:
        command = cli.get_command(group, name)
        while isinstance(command, click.Group):
            name, *arguments = arguments
            command = command.get_command(group, name)
        assert command is not None
        # Parses every option and argument and runs nothing; a wrong one raises.
        with command.make_context(name, arguments, parent=group) as parsed:
            assert parsed.params


def test_every_reason_not_to_run_a_command_is_needed() -> None:
    lines = [line for page in PAGES for line in commands_of(page)]
    assert [pattern for pattern in NOT_RUN if not any(re.search(pattern, line) for line in lines)] == []


def run_here(folder: Path, arguments: list[str]) -> tuple[int, str]:
    """Exit code and output of a command."""
    changes = {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "HARNESS_CACHE_DIR": str(folder / "cache")}
    # On the real corpus gates would judge the fake scores; stand-ins are not judged.
    kept = {key: value for key, value in environ(**changes).items() if key != "HARNESS_MRPC_DIR"}
    done = forked(*arguments, cwd=folder, environment=kept)
    return done.returncode, done.stdout + done.stderr


def with_fakes(arguments: list[str]) -> list[str]:
    if "--list" in arguments:
        return arguments
    # Fake scores differ by chance alone: two looks show as much as eleven.
    fewer = ("--most-seeds", "4") if "--until-decided" in arguments else ()
    return [*arguments, *fewer, *FAKES.get(arguments[0], ())]


def with_folders(line: str, folder: Path) -> str:
    """The command with the newest run in place of each placeholder."""

    def newest(found: re.Match[str]) -> str:
        runs = sorted(path.parent for path in (folder / found[1]).glob("*/report.json"))
        assert runs, f"no run in {found[1]} before: {line}"
        return str(runs[-1].relative_to(folder))

    return PLACEHOLDER.sub(newest, line)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that pages name, a run of the suite padding, and the baseline main."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("examples", "reports/samples"):
        shutil.copytree(REPOSITORY / name, folder / name)
    minilm = cache_root() / "checkpoints" / "minilm"
    if minilm.exists():
        (folder / "cache" / "checkpoints").mkdir(parents=True)
        (folder / "cache" / "checkpoints" / "minilm").symlink_to(minilm)
    line = "harness run padding -s 'matrix.checkpoint=[bert-base-uncased]' -s 'matrix.seed=[0, 1]'"
    for each in (line, "harness baseline set reports/padding/RUN main --force"):
        code, output = run_here(folder, with_fakes(words(with_folders(each, folder))))
        assert code == 0, output
    return folder


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_the_commands_of_a_page_run_in_its_order(page: Path, checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    shutil.copytree(checkout, folder, symlinks=True)
    for line in commands_of(page):
        if reason_not_to_run(line) is not None:
            continue
        if "minilm" in line and not (folder / "cache").exists():
            continue
        arguments = words(with_folders(line, folder))
        code, output = run_here(folder, with_fakes(arguments))
        assert code in JUDGMENTS.get(arguments[0], (0,)), f"{line}\n{output}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_suite_that_a_page_shows_is_valid(page: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for block in blocks:
        assert expand(parse_suite(block, str(page)), ("cuda:0", "cpu"))


def test_the_readme_is_short_and_has_one_picture() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 1_000
    assert len(re.findall(r"!\[", text)) == 1
    assert [line.split("  ")[0] for line in re.findall(r"^make .*$", text, re.MULTILINE)] == [
        "make run",
        "make test",
    ]
