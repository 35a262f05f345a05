"""Damage to a checkpoint in a folder before a run: a row with the reason, or other digests in the report."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.api import RunOptions, run_suite
from harness.assets.embedded import checkpoint_folder
from harness.errors import HarnessError
from harness.model.arguments import Train
from harness.model.results import TrialResult
from harness.model.suite import Measure, Suite
from harness.model.tasks import Task
from tests.factories import make_suite
from tests.flips.command_line import harness
from tests.flips.damage import Outcome, damage_each
from tests.flips.in_process import in_process

pytestmark = pytest.mark.heavy

Flips = Callable[[float], range]
Count = Callable[[str, Outcome], None]


def suite_of(folder: Path) -> Suite:
    task = Task(dataset="words", config=None, data_dir=str(folder / "data"), text=("text",), max_length=16)
    matrix = {"checkpoint": (str(folder / "checkpoint"),), "padding": ("dynamic",), "device": ("cpu",)}
    return make_suite(
        name="flips",
        task=task,
        # The other engine collects garbage after each training, which here takes longer than all else.
        matrix=matrix | {"engine": ("loop",), "seed": (0,)},
        train=Train(max_steps=2),
        measure=Measure(warmup_steps=0, roofline=False, threads=1),
    )


def train(folder: Path) -> tuple[TrialResult, Path]:
    """Train on the checkpoint in the folder, for real but in this process; the result and the report."""
    from harness.training.run_trial import run_trial  # noqa: PLC0415 - collected without torch

    options = RunOptions(reports=folder / "reports", parity=False)
    run = run_suite(suite_of(folder), options, seams=in_process(run_trial))
    (result,) = run.report.results
    return result, run.directory / "report.json"


def digests(result: TrialResult) -> dict[str, str | None]:
    found = result.checkpoint
    assert found is not None
    return {
        "weights": found.weights_sha256,
        "config": found.config_sha256,
        "tokenizer": found.tokenizer_sha256,
    }


def write_words(folder: Path) -> None:
    """The two files of a data set of 24 rows each."""
    folder.mkdir(parents=True)
    for split in ("train", "validation"):
        rows = [{"text": f"the cat sat on mat {at}", "label": int(at % 3 == 0)} for at in range(24)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_damaged_checkpoint_fails_its_trials_or_is_another_one(
    tmp_path: Path, flips: Flips, tally: Count
) -> None:
    write_words(tmp_path / "data")
    folder = tmp_path / "checkpoint"

    def restore() -> list[Path]:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(checkpoint_folder("embedded/bert-uncased"), folder)
        return sorted(folder.iterdir())

    def look(file: Path, draw: random.Random) -> Outcome:
        outcome: Outcome = "refused"
        try:
            outcome = judge(*train(tmp_path))
        except HarnessError as error:
            named = str(folder) in error.message
        else:
            named = True
        assert named, "its message names no checkpoint"
        if draw.random() < 0.2:
            restore()
            assert train(tmp_path)[0].predictions == wanted.predictions
        return outcome

    def judge(found: TrialResult, report: Path) -> Outcome:
        if found.status != "completed":
            assert found.reason
            return "refused"
        differing = [part for part, value in digests(found).items() if value != digests(wanted)[part]]
        assert differing
        said = harness("compare", first, report)
        words = " ".join((said.out + said.err).split())
        assert "quality not comparable" in words or "nothing can be compared" in words, words
        assert all(part in words for part in differing), words
        return "another input"

    restore()
    wanted, first = train(tmp_path)
    assert wanted.status == "completed"

    damage_each("checkpoint", flips(0.08), restore, look, tally)
