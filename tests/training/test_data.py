from __future__ import annotations

from pathlib import Path

import pytest

from harness.assets.find_data import find_data
from harness.model.assets import Data, Duplicates, ResolvedData
from harness.model.job import TrialStoppedError
from harness.model.tasks import Task
from harness.training.describing import describe_data
from harness.training.loading import load_corpus
from harness.training.tokenizing.tokens import tokenize
from tests.data.sets import GOOD, OWN, labelled, resolved, write_jsonl
from tests.training.conftest import MakeJob

pytestmark = pytest.mark.heavy


def test_wrong_data_fails_the_trial_with_every_problem_on_one_line(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", *GOOD, {"a": None, "b": "y", "y": 0.5})
    with pytest.raises(TrialStoppedError) as caught:
        load_corpus(OWN, resolved({"train": path, "validation": path}))
    assert caught.value.status == "failed"
    assert "train.jsonl:3: column 'a'" in caught.value.message
    assert "train.jsonl:3: column 'y'" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def described(make_job: MakeJob, task: Task, data: ResolvedData) -> Data:
    job = make_job(task=task).model_copy(update={"data": data})
    corpus = load_corpus(task, data)
    return describe_data(job, corpus, tokenize(corpus, Path(job.checkpoint.path), 64, Path(job.cache_dir)))


def test_a_result_records_repeated_and_leaked_rows(make_job: MakeJob, tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", *labelled(0, 1), *labelled(0))
    evaluation = write_jsonl(tmp_path / "validation.jsonl", *labelled(0, 1), *GOOD)
    found = described(make_job, OWN, resolved({"train": train, "validation": evaluation}))
    assert found.duplicates == Duplicates(train=1, evaluation=0, leaked=2)
    assert found.published is None


@pytest.mark.mrpc
def test_a_result_records_that_its_rows_are_the_published_ones(
    make_job: MakeJob, mrpc_dir: Path, tmp_path: Path
) -> None:
    data = find_data(Task(data_dir=str(mrpc_dir)), "auto", note=lambda _: None)
    found = described(make_job, Task(), data)
    assert found.published is True
    assert found.duplicates == Duplicates(train=0, evaluation=0, leaked=0)
    for name in ("train.tsv", "dev.tsv"):
        content = (mrpc_dir / name).read_bytes()
        (tmp_path / name).write_bytes(content.replace(b"said", b"told"))
    altered = find_data(Task(data_dir=str(tmp_path)), "auto", note=lambda _: None)
    assert described(make_job, Task(), altered).published is False
