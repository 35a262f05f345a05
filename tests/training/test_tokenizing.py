"""Trials that only tokenise: each way gives training's ids or fails; what is measured; no process hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from harness.model.job import Progress, TrialStoppedError
from harness.model.results import TrialResult
from harness.model.tasks import Task
from harness.model.values import Tokenization, Tokenizer
from harness.training.loading import load_corpus
from harness.training.measuring.counters import with_added_memory
from harness.training.run_trial import run_trial
from harness.training.tokenizing.measure import differing, parallelism
from harness.training.tokenizing.tokens import TokenizedSplit
from tests.training.conftest import MakeJob, quietly

pytestmark = pytest.mark.heavy

WHOLE = Tokenization(method="whole")
BATCHED = Tokenization(method="map_batched", batch_size=7)
MAP = Tokenization(method="map")
BY_PROCESSES = Tokenization(method="map_batched", num_proc=2)
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what processes share")


@pytest.mark.parametrize(
    ("way", "tokenizer"), [(WHOLE, "fast"), (WHOLE, "slow"), (MAP, "fast"), (BATCHED, "slow")], ids=str
)
def test_every_way_gives_the_ids_of_training_and_is_timed(
    make_job: MakeJob, way: Tokenization, tokenizer: Tokenizer
) -> None:
    result = run_trial(make_job(tokenization=way, tokenizer=tokenizer), quietly)
    assert (result.status, result.phase) == ("completed", "write")
    seconds, examples, tokens = (
        result.measurement(metric)
        for metric in ("tokenize_seconds", "tokenize_examples_per_second", "tokenize_tokens_per_second")
    )
    assert seconds is not None
    assert examples is not None
    assert tokens is not None
    assert len(seconds.values) in (1, 3)
    assert [64 + 24] * len(seconds.values) == pytest.approx(
        [second * rate for second, rate in zip(seconds.values, examples.values, strict=True)]
    )
    assert result.data is not None
    trained = seconds.values[0] * tokens.values[0]
    assert trained > result.data.mean_length * 64
    assert TrialResult.model_validate_json(result.model_dump_json()) == result


def test_a_result_says_what_was_used_and_holds_nothing_of_training(make_job: MakeJob) -> None:
    said: list[Progress] = []
    result = run_trial(make_job(tokenization=WHOLE, tokenizer="slow"), said.append)
    assert list(dict.fromkeys(progress.phase for progress in said)) == ["load_data", "tokenize"]
    assert result.notes == ("tokenised by BertTokenizerLegacy",)
    assert (result.epochs, result.predictions, result.metric_version) == ((), None, None)
    assert result.value("train_seconds") is None
    assert result.checkpoint is not None
    assert (result.checkpoint.model_type, result.checkpoint.dtype) == ("bert", "not loaded")
    assert result.checkpoint.parameters > 1_000
    assert result.data is not None
    assert (result.data.train_examples, result.data.eval_examples) == (64, 24)
    assert result.environment is not None
    assert result.environment.threads == 1


def test_nothing_is_read_from_a_cache(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(tokenization=BATCHED)
    run_trial(job, quietly)
    calls = []
    call = AutoTokenizer.from_pretrained(job.checkpoint.path).__class__.__call__

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        # A check of the trial tokenises single rows again.
        if not isinstance(args[0], str):
            calls.append(len(args[0]))
        return call(self, *args, **kwargs)

    monkeypatch.setattr("transformers.PreTrainedTokenizerBase.__call__", counted)
    again = run_trial(job, quietly).measurement("tokenize_seconds")
    assert again is not None
    # The reference comes from its cache, the first pass and the timed ones from the tokenizer.
    assert sum(calls) == (64 + 24) * (1 + len(again.values))


def test_other_ids_than_those_of_training_fail_and_are_counted(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(tokenization=MAP, tokenizer="slow")
    folder = tmp_path / "swapped"
    folder.mkdir()
    for file in Path(job.checkpoint.path).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    words = sorted(
        vocabulary := AutoTokenizer.from_pretrained(folder).get_vocab(), key=vocabulary.__getitem__
    )
    words[-2:] = reversed(words[-2:])
    (folder / "vocab.txt").write_text("\n".join(words))
    swapped = job.model_copy(update={"checkpoint": job.checkpoint.model_copy(update={"path": str(folder)})})
    with pytest.raises(TrialStoppedError, match=r"\d\d of 88 examples have other token ids") as caught:
        run_trial(swapped, quietly)
    assert caught.value.status == "failed"
    assert "vocab.txt" in (caught.value.hint or "")


def test_the_two_tokenizers_cut_pairs_differently_and_that_is_told(make_job: MakeJob) -> None:
    cut = Task(max_length=16)
    assert run_trial(make_job(tokenization=WHOLE, task=cut), quietly).status == "completed"
    with pytest.raises(TrialStoppedError, match=r"\d+ are longer than 16 tokens") as caught:
        run_trial(make_job(tokenization=WHOLE, tokenizer="slow", task=cut), quietly)
    assert "raise task.max_length" in (caught.value.hint or "")


def test_a_checkpoint_without_a_tokenizer_in_python_is_unavailable(
    make_job: MakeJob, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "fast-only"
    folder.mkdir()
    for file in checkpoints["bert"].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": {}}}')
    job = make_job(tokenization=WHOLE, tokenizer="slow")
    job = job.model_copy(update={"checkpoint": job.checkpoint.model_copy(update={"path": str(folder)})})
    with pytest.raises(TrialStoppedError, match="no BPE tokenizer in Python") as caught:
        run_trial(job, quietly)
    assert caught.value.status == "unavailable"


@pytest.mark.mrpc
def test_both_tokenizers_agree_on_every_real_pair(mrpc_dir: Path, minilm: Path) -> None:
    from harness.assets.find_data import find_data  # noqa: PLC0415 - only where there is something to find

    corpus = load_corpus(Task(), find_data(Task(data_dir=str(mrpc_dir)), "auto", note=lambda _: None))
    texts = list(zip(*corpus.train.texts, *corpus.evaluation.texts, strict=True))
    fast, slow = (
        tokenizer(*map(list, texts), return_token_type_ids=True)
        for tokenizer in (AutoTokenizer.from_pretrained(minilm), BertTokenizerLegacy.from_pretrained(minilm))
    )
    assert fast["input_ids"] == slow["input_ids"]
    assert fast["token_type_ids"] == slow["token_type_ids"]


def split_of(*rows: list[int]) -> TokenizedSplit:
    lengths = [len(row) for row in rows]
    return TokenizedSplit(
        input_ids=np.asarray([id_ for row in rows for id_ in row], dtype=np.int32),
        token_type_ids=np.zeros(sum(lengths), dtype=np.uint8),
        offsets=np.concatenate(([0], np.cumsum(lengths))),
        labels=np.zeros(len(rows), dtype=np.int64),
        example_ids=np.arange(len(rows)),
    )


@pytest.mark.parametrize(
    ("rows", "unlike"),
    [
        ([[1, 2], [3], [4, 5, 6]], 0),
        ([[1, 9], [3], [4, 5, 6]], 1),
        ([[1, 2], [3, 4], [4, 5, 6]], 1),
        ([[1], [2, 3], [4, 5, 6]], 2),
        ([[1, 2], [3]], 1),
        ([[1, 2], [3], [4, 5, 6], [7]], 1),
    ],
)
def test_examples_with_other_ids_are_counted_one_by_one(rows: list[list[int]], unlike: int) -> None:
    encoded = {"input_ids": rows, "token_type_ids": [[0] * len(row) for row in rows]}
    assert differing(encoded, split_of([1, 2], [3], [4, 5, 6])) == unlike


def test_another_token_type_is_another_example() -> None:
    assert differing({"input_ids": [[1, 2]], "token_type_ids": [[0, 1]]}, split_of([1, 2])) == 1


def test_threads_and_processes_are_never_both_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "before")
    monkeypatch.delenv("RAYON_NUM_THREADS", raising=False)
    for way, wanted in ((WHOLE, "true"), (BY_PROCESSES, "false")):
        with parallelism(way, threads=3):
            assert os.environ["TOKENIZERS_PARALLELISM"] == wanted
            assert os.environ["RAYON_NUM_THREADS"] == "3"
    assert os.environ["TOKENIZERS_PARALLELISM"] == "before"
    assert "RAYON_NUM_THREADS" not in os.environ


@ON_LINUX
def test_added_memory_is_that_of_the_work_and_of_its_processes() -> None:
    here, memory = with_added_memory(lambda: bytearray(os.urandom(2**16)) * 512)
    assert memory.values[0] == pytest.approx(len(here), rel=0.2)
    program = "held = bytearray(b'x') * 2**25; input()"

    def elsewhere() -> None:
        with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as child:
            for _ in range(200):
                rollup = Path(f"/proc/{child.pid}/smaps_rollup").read_text()
                if int(next(line.split()[1] for line in rollup.splitlines() if "Pss_Anon" in line)) > 2**15:
                    break
            time.sleep(1.0)  # long enough for a sample on a busy machine
            child.communicate(b"\n")

    _, memory = with_added_memory(elsewhere)
    assert memory.values[0] > 2**25 * 0.9


FORKING = """
import json, os, sys
from harness.model.job import Job
from harness.training.run_trial import run_trial
seen, fork = [], os.fork
def watched():
    seen.append(os.environ["TOKENIZERS_PARALLELISM"])
    return fork()
os.fork = watched
result = run_trial(Job.model_validate_json(sys.stdin.read()), lambda progress: None)
print(json.dumps([len(seen), sorted(set(seen)), result.status]))
"""


def test_processes_of_map_end_and_none_is_forked_with_parallel_tokenizers(make_job: MakeJob) -> None:
    """In a process of its own, as a worker is one. Arrow's threads are there; they know about forks."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING],
        input=make_job(tokenization=BY_PROCESSES).model_dump_json(),
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    forks, parallel, status = json.loads(done.stdout.splitlines()[-1])
    assert forks >= 2 * 2 * 2
    assert (parallel, status) == (["false"], "completed")
