"""Damage to any file before the command line resumes a run that trains: the same scores, or a message."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from harness.assets.embedded import checkpoint_folder
from harness.model.results import Report, TrialResult
from harness.store.reading import load_report
from tests.flips.damage import Outcome, damage_each
from tests.flips.test_checkpoints import digests, write_words
from tests.running.fakes import environ

pytestmark = pytest.mark.heavy

Flips = Callable[[float], range]
Count = Callable[[str, Outcome], None]

SUITE: Final = """\
name: flips
task: {dataset: words, config: null, data_dir: data, text: [text], max_length: 16}
matrix:
  checkpoint: [./checkpoint]
  padding: [dynamic]
  device: [cpu]
  seed: [0, 1]
train: {max_steps: 2}
measure: {warmup_steps: 0, threads: 1}
"""
INPUTS: Final = ("checkpoint", "data")


def run(folder: Path, *options: str) -> tuple[int, str]:
    """Exit code and output of `harness run` in the folder, with the cache inside it."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "--no-parity", "suite.yaml", *options],
        cwd=folder,
        env=environ(HARNESS_CACHE_DIR=str(folder / "cache"), NO_COLOR="1"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def newest(folder: Path) -> Report:
    return load_report(max(folder.glob("reports/*/*/report.json"), key=lambda file: file.stat().st_mtime_ns))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TrialResult]]:
    """A folder in which a run has finished one of two trials, and the results of both."""
    folder = tmp_path_factory.mktemp("interrupted") / "work"
    write_words(folder / "data")
    shutil.copytree(checkpoint_folder("embedded/bert-uncased"), folder / "checkpoint")
    (folder / "suite.yaml").write_text(SUITE)
    code, output = run(folder)
    assert code == 0, output
    report = newest(folder)
    (directory,) = folder.glob("reports/flips/*/")
    last = directory / "trials" / report.results[-1].trial.id / "result.json"
    for file in (last, *directory.glob("report.*"), directory / "ended.json"):
        file.unlink()
    return folder, list(report.results)


def test_the_command_line_goes_on_after_damage_to_any_file(
    interrupted: tuple[Path, list[TrialResult]], tmp_path: Path, flips: Flips, tally: Count
) -> None:
    template, wanted = interrupted
    # Sources and paths are recorded: the copy must have the same path as the template.
    aside = tmp_path / "template"
    template.rename(aside)

    def restore() -> list[Path]:
        shutil.rmtree(template, ignore_errors=True)
        shutil.copytree(aside, template)
        # Another suite would be another run.
        suite = template / "suite.yaml"
        return sorted(file for file in template.rglob("*") if file.is_file() and file != suite)

    def look(file: Path, _draw: random.Random) -> Outcome:
        code, output = run(template)
        refused = code == 2 and "--fresh" in output
        if refused:
            code, output = run(template, "--fresh")
        if file.relative_to(template).parts[0] in INPUTS:
            return other_input(code, output)
        assert code == 0, output
        results = newest(template).results
        assert [result.predictions for result in results] == [result.predictions for result in wanted]
        notes = [note for result in results for note in result.notes if note.startswith("token cache: ")]
        assert bool(notes) == (file.parent.name == "tokens")
        noticed = notes or "not counted as done" in output
        return "refused" if refused else "noticed" if noticed else "no effect"

    def other_input(code: int, output: str) -> Outcome:
        """After damage to an input: no trial is taken over, and all digests are those of one new input."""
        if code in (2, 69):
            assert "error: " in output
            return "refused"
        results = newest(template).results
        completed = [result for result in results if result.status == "completed"]
        assert all(result.reason for result in results if result not in completed)
        assert all(inputs(result) != inputs(wanted[0]) for result in completed)
        assert len({str(inputs(result)) for result in completed}) <= 1
        return "another input" if completed else "refused"

    damage_each("command line", flips(0.007), restore, look, tally)


def inputs(result: TrialResult) -> tuple[object, ...]:
    assert result.data is not None
    return digests(result), result.data.files_sha256, result.data.content_sha256
