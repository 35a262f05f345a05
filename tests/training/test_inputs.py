"""A trial fails when a file is not the one that its run resolved, whenever that happened."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.training_verdicts import training_of
from harness.assets.digest import checkpoint_digests, files_sha256
from harness.model.job import Announce, Job, Progress, TrialStoppedError
from harness.model.status import Phase
from harness.model.values import Tokenization
from harness.training.run_trial import run_trial
from tests.training.conftest import MakeJob

pytestmark = pytest.mark.heavy

Edit = Callable[[Job], object]


@pytest.fixture
def resolved(make_job: MakeJob, tmp_path: Path) -> Callable[..., Job]:
    """A job on files of its own, with their digests as a run records them."""

    def make(**trial: Any) -> Job:
        job = make_job(train={"max_steps": 2}, **trial)
        folder = shutil.copytree(job.checkpoint.path, tmp_path / "checkpoint")
        found = {"path": str(folder), "digests": checkpoint_digests(folder)}
        return job.model_copy(
            update={
                "checkpoint": job.checkpoint.model_copy(update=found),
                "data": job.data.model_copy(update={"files_sha256": files_sha256(job.data.files)}),
            }
        )

    return make


def edit_weights(job: Job) -> None:
    """Change the last weight in place and set the modification time back."""
    file = Path(job.checkpoint.path) / "model.safetensors"
    before = file.stat()
    with file.open("r+b") as opened:
        opened.seek(-4, os.SEEK_END)
        opened.write(b"\0\0\0\x3f")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def edit_config(job: Job) -> None:
    file = Path(job.checkpoint.path) / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"hidden_act": "relu"}))


def edit_tokenizer(job: Job) -> None:
    file = Path(job.checkpoint.path) / "tokenizer.json"
    file.write_text(file.read_text().replace('"cat"', '"tac"'))


def edit_data(job: Job) -> None:
    """Invert every label: a file of the same size."""
    file = Path(job.data.files["train"][0])
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row | {"label": 1 - row["label"]}) + "\n" for row in rows))


WEIGHTS = "the weights of checkpoint bert changed since the run started"
CONFIG = r"config\.json of checkpoint bert changed since the run started"
TOKENIZER = "the tokenizer files of checkpoint bert changed since the run started"
DATA = "the files of data set pairs changed since the run started"


def during(phase: Phase, edit: Edit, job: Job) -> Announce:
    """An observer that edits a file when a phase begins."""
    done: list[Phase] = []

    def announce(progress: Progress) -> None:
        if progress.phase == phase and not done:
            done.append(phase)
            edit(job)

    return announce


def refusal(job: Job, announce: Announce) -> TrialStoppedError:
    with pytest.raises(TrialStoppedError) as caught:
        run_trial(job, announce)
    assert caught.value.status == "failed"
    assert "run the suite again" in (caught.value.hint or "")
    return caught.value


@pytest.mark.parametrize("tokenization", [None, Tokenization(method="whole")])
@pytest.mark.parametrize(
    ("edit", "reason"),
    [(edit_weights, WEIGHTS), (edit_config, CONFIG), (edit_tokenizer, TOKENIZER), (edit_data, DATA)],
)
def test_a_file_that_changed_before_the_trial_is_named(
    edit: Edit, reason: str, tokenization: Tokenization | None, resolved: Callable[..., Job]
) -> None:
    job = resolved(tokenization=tokenization)
    edit(job)
    message = refusal(job, lambda _progress: None).message
    assert re.fullmatch(rf"{reason} \(sha256 was [0-9a-f]{{12}}, is [0-9a-f]{{12}}\)", message)


@pytest.mark.parametrize(
    ("phase", "edit"),
    [
        ("tokenize", edit_data),
        ("tokenize", edit_tokenizer),
        ("load_model", edit_config),
        ("load_model", edit_weights),
        # The model maps its weights: a change in place reaches a training that has begun.
        ("train", edit_weights),
    ],
)
def test_a_file_that_changes_while_a_trial_reads_it_ends_the_trial(
    phase: Phase, edit: Edit, resolved: Callable[..., Job]
) -> None:
    job = resolved()
    assert "changed since the run started" in refusal(job, during(phase, edit, job)).message


@pytest.mark.parametrize("edit", [edit_config, edit_weights])
def test_a_checkpoint_that_changes_during_its_proof_ends_the_proof(
    edit: Edit, resolved: Callable[..., Job]
) -> None:
    job = resolved().model_copy(update={"purpose": "prove"})
    assert "changed since the run started" in refusal(job, during("prove", edit, job)).message


@pytest.mark.parametrize("edit", [edit_config, edit_tokenizer])
def test_a_checkpoint_that_changes_during_a_proof_of_training_ends_the_proof(
    edit: Edit, resolved: Callable[..., Job]
) -> None:
    job = resolved(engine="loop")
    trial = training_of(job.trial, "bert")
    job = job.model_copy(update={"purpose": "prove_training", "trial": trial})
    assert "changed since the run started" in refusal(job, during("prove", edit, job)).message


def test_a_checkpoint_that_changed_before_its_proof_ends_the_proof(resolved: Callable[..., Job]) -> None:
    job = resolved().model_copy(update={"purpose": "prove"})
    edit_config(job)
    assert "changed since the run started" in refusal(job, lambda _progress: None).message


def test_data_that_changes_during_a_tokenising_trial_ends_it(resolved: Callable[..., Job]) -> None:
    job = resolved(tokenization=Tokenization(method="whole"))
    assert DATA in refusal(job, during("tokenize", edit_data, job)).message


def test_a_file_that_vanished_is_named_without_its_folder(resolved: Callable[..., Job]) -> None:
    job = resolved()
    (Path(job.checkpoint.path) / "config.json").unlink()
    assert refusal(job, lambda _progress: None).message == (
        "config.json of checkpoint bert cannot be read any more: No such file or directory"
    )


@pytest.mark.parametrize(("replace", "kind"), [(Path.mkdir, "a folder"), (os.mkfifo, "a named pipe")])
def test_a_file_that_became_something_else_is_named_with_what_it_is(
    replace: Callable[[Path], None], kind: str, resolved: Callable[..., Job]
) -> None:
    job = resolved()
    file = Path(job.data.files["train"][0])
    file.unlink()
    replace(file)
    assert refusal(job, lambda _progress: None).message == (
        f"train.jsonl of data set pairs cannot be read any more: it is {kind}, not a regular file"
    )


@pytest.mark.parametrize("tokenization", [None, Tokenization(method="whole")])
def test_unchanged_files_complete_and_their_digests_are_in_the_result(
    tokenization: Tokenization | None, resolved: Callable[..., Job]
) -> None:
    job = resolved(tokenization=tokenization)
    result = run_trial(job, lambda _progress: None)
    assert result.status == "completed"
    assert job.checkpoint.digests is not None
    assert result.checkpoint is not None
    assert {part: getattr(result.checkpoint, f"{part}_sha256") for part, _ in job.checkpoint.digests} == dict(
        job.checkpoint.digests
    )
    assert not any("token cache" in note for note in result.notes)


def test_a_damaged_entry_of_the_token_cache_is_a_note_in_the_result_and_changes_no_number(
    resolved: Callable[..., Job],
) -> None:
    job = resolved()
    first = run_trial(job, lambda _progress: None)
    (entry,) = (Path(job.cache_dir) / "tokens").iterdir()
    entry.write_bytes(entry.read_bytes()[:-8])
    again = run_trial(job, lambda _progress: None)
    assert again.predictions == first.predictions
    assert [note for note in again.notes if "token cache" in note] == [
        f"token cache: entry {entry.stem[:12]} was not used "
        "(its SHA-256 is not the one it was written with): tokenised again"
    ]
