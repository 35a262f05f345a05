"""Files that change while a suite runs: every trial that would read the new ones is a row with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import __version__
from harness.api import RunOptions, run_suite
from harness.model.arguments import Train
from harness.model.assets import CheckpointDigests
from harness.model.job import Job
from harness.model.results import Report, TrialResult
from harness.model.suite import Measure
from harness.model.tasks import Task
from harness.running.options import DEFAULT_RUNNER
from harness.running.preflight import RealAssets
from harness.running.remote.protocol import Heard, Request
from harness.running.remote.task import run_on_node
from tests.factories import make_trial
from tests.flips.in_process import in_process
from tests.running.fakes import Watcher, fake_suite

pytestmark = pytest.mark.heavy


class EditsData(Watcher):
    """Inverts every training label when the first trial has ended."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def finished(self, result: TrialResult) -> None:
        if not self.done:
            rows = [json.loads(line) for line in self._file.read_text().splitlines()]
            write(self._file, [row["label"] == 0 for row in rows])
        super().finished(result)


def write(file: Path, labels: list[bool]) -> None:
    rows = [{"text": f"sentence {at}", "label": int(label)} for at, label in enumerate(labels)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(folder: Path, watcher: Watcher, *, seeds: tuple[int, ...] = (0, 1)) -> Report:
    suite = fake_suite(
        seeds,
        task=Task(
            dataset="sentences", config=None, data_dir=str(folder / "data"), text=("text",), max_length=16
        ),
        train=Train(max_steps=1),
        measure=Measure(warmup_steps=0, roofline=False, threads=1),
    )
    suite = suite.model_copy(update={"matrix": suite.matrix | {"checkpoint": ("embedded/bert-uncased",)}})
    from harness.training.run_trial import run_trial  # noqa: PLC0415 - collected without torch

    options = RunOptions(assets="auto", reports=folder / "reports", parity=False)
    return run_suite(suite, options, observer=watcher, seams=in_process(run_trial)).report


def test_trials_after_a_change_of_the_data_fail_and_the_next_run_uses_one_content(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for split in ("train", "validation"):
        write(tmp_path / "data" / f"{split}.jsonl", [at % 3 == 0 for at in range(24)])
    first, second = run(tmp_path, EditsData(tmp_path / "data" / "train.jsonl")).results
    assert (first.status, second.status, second.phase) == ("completed", "failed", "load_data")
    assert (second.reason or "").startswith(
        "the files of data set sentences changed since the run started (sha256 was "
    )
    again = run(tmp_path, Watcher()).results
    assert [result.status for result in again] == ["completed", "completed"]
    contents = {result.data.content_sha256 for result in again if result.data is not None}
    assert len(contents) == 1
    assert first.data is not None
    assert first.data.content_sha256 not in contents


def test_a_node_of_a_cluster_whose_file_at_the_same_path_is_another_one_fails_the_trial(
    tmp_path: Path,
) -> None:
    assets = RealAssets("embedded")
    checkpoint = assets.checkpoint("embedded/bert-uncased", None, lambda _note: None)
    assert checkpoint.digests is not None
    elsewhere = CheckpointDigests(**dict(checkpoint.digests) | {"config": "0" * 64})
    job = Job(
        trial=make_trial(checkpoint="embedded/bert-uncased"),
        measure=Measure(threads=1),
        checkpoint=checkpoint.model_copy(update={"digests": elsewhere}),
        data=assets.data(Task(), lambda _note: None),
        cache_dir=str(tmp_path),
    )
    request = Request(number=7, job=job, runner=DEFAULT_RUNNER, threads=1, grace_s=1.0)
    *_, last = run_on_node(__version__, 7, request.model_dump_json())
    result = Heard.model_validate_json(last).result
    assert result is not None
    assert (result.status, result.phase) == ("failed", "load_data")
    assert "config.json of checkpoint embedded/bert-uncased changed since the run started" in (
        result.reason or ""
    )
    assert "give every node the same files" in (result.reason or "")
