"""A trial that tokenises its data set in one way, several times over, and trains nothing."""

from __future__ import annotations

import gc
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from datasets import Dataset, DatasetDict
from transformers import PreTrainedTokenizerBase
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from harness.machine.facts import describe_environment, physical_cores
from harness.model.job import Announce, Job, Progress, TrialStoppedError
from harness.model.measurements import Measurement, measured
from harness.model.results import TrialResult
from harness.model.values import Tokenization, Tokenizer
from harness.training.describing import describe_data, describe_files
from harness.training.devices import describe_device
from harness.training.input_files import verify_inputs
from harness.training.loading import Corpus, Split, load_corpus
from harness.training.measuring.counters import PeakMemory, with_added_memory
from harness.training.measuring.probe import MachineProbe
from harness.training.preparing import prepare_tokens, truncation_length
from harness.training.proofs.instruments import check_timer
from harness.training.proofs.own_rows import check_rows
from harness.training.tokenizing.token_cache import SPLITS
from harness.training.tokenizing.tokens import Tokenized, TokenizedSplit, load_tokenizer

# One pass of that length tells as much as three short ones, and seeds repeat it.
MOST_PASSES: Final = 3
LONG_SECONDS: Final = 0.5

T = TypeVar("T")


def measure_tokenizing(job: Job, way: Tokenization, announce: Announce) -> TrialResult:
    """Tokenise both splits in one way: once for its memory and to warm up, then again for its time.

    The reference is computed last: it may start threads, and `num_proc` forks.

    Raises:
        TrialStoppedError: `unavailable` without such a tokenizer; `failed` where any example has other ids
            than in training.
    """
    started, since = datetime.now(UTC), time.monotonic()
    threads = job.measure.threads or physical_cores()
    announce(Progress(phase="load_data"))
    verify_inputs(job)
    corpus = load_corpus(job.trial.task, job.data)
    loaded_s = time.monotonic() - since
    announce(Progress(phase="tokenize"))
    tokenizer = open_tokenizer(job.trial.tokenizer, Path(job.checkpoint.path))
    device = torch.device("cpu")
    with TemporaryDirectory(prefix="harness-tokenize-") as folder, parallelism(way, threads):
        work = tokenizing(write_rows(corpus, Path(folder)), tokenizer, way, truncation_length(job))
        peaks = PeakMemory(device)
        # Threads of torch would block the forks of `num_proc`.
        probe = MachineProbe(device, threads=1, aside=peaks.paused)
        encoded, memory = with_added_memory(work)
        del encoded
        check_timer(time_passes)
        encoded, seconds = time_passes(work, announce, probe.read if job.concurrent == 1 else lambda: None)
        peak = peaks.measurements()
        tokens = prepare_tokens(job, corpus)
        _check(encoded, tokens)
    data = describe_data(job, corpus, tokens)
    check_rows(job, corpus, tokens, data)
    verify_inputs(job)
    return TrialResult(
        trial=job.trial,
        status="completed",
        phase="write",
        checkpoint=describe_files(job),
        data=data,
        environment=describe_environment(describe_device(device), threads),
        measurements=(*_rates(seconds, tokens), memory, *peak, measured("load_data_seconds", loaded_s)),
        probe=probe.found,
        notes=(f"tokenised by {type(tokenizer).__name__}", *tokens.notes),
        started=started,
        duration_s=time.monotonic() - since,
    )


def time_passes(
    work: Callable[[], T],
    announce: Announce,
    at_edge: Callable[[], None],
    *,
    collect: Callable[[], object] = gc.collect,
    now: Callable[[], float] = time.perf_counter,
) -> tuple[T, list[float]]:
    """Return the encoding of the last pass and the seconds of each, of `work` alone.

    Args:
        work: tokenises all rows.
        announce: told the number of each pass.
        at_edge: called before and after all passes.
        collect: collects garbage before each pass.
        now: a monotonic clock in seconds.
    """
    seconds: list[float] = []
    at_edge()
    while True:
        announce(Progress(phase="tokenize", step=len(seconds) + 1, steps=MOST_PASSES))
        collect()
        begin = now()
        encoded = work()
        seconds.append(now() - begin)
        if len(seconds) == MOST_PASSES or seconds[0] > LONG_SECONDS:
            at_edge()
            return encoded, seconds
        del encoded


def _check(encoded: Encoded, tokens: Tokenized) -> None:
    """Refuse a way whose ids are not those that training takes: its speed would be that of something else."""
    unlike = sum(differing(encoded[name], getattr(tokens, name)) for name in SPLITS)
    if not unlike:
        return
    what = f"{unlike:,} of {len(tokens.train) + len(tokens.evaluation):,} examples have other token ids than"
    if tokens.truncated:
        raise TrialStoppedError(
            "failed",
            f"{what} in training; {tokens.truncated:,} are longer than {tokens.max_length} tokens",
            hint="raise task.max_length: the two tokenizers cut the odd token from different texts of a pair",
        )
    raise TrialStoppedError(
        "failed", f"{what} in training", hint="the checkpoint's vocab.txt and tokenizer.json may not agree"
    )


def _rates(seconds: list[float], tokens: Tokenized) -> tuple[Measurement, ...]:
    examples = len(tokens.train) + len(tokens.evaluation)
    real = int(tokens.train.offsets[-1] + tokens.evaluation.offsets[-1])
    return (
        measured("tokenize_seconds", *seconds),
        measured("tokenize_examples_per_second", *(examples / one for one in seconds)),
        measured("tokenize_tokens_per_second", *(real / one for one in seconds)),
    )


Encoded = dict[str, Any]
"""What a way of tokenising returns for each split: lists for the whole data set, else a `Dataset`."""
Numbers = npt.NDArray[Any]


def open_tokenizer(kind: Tokenizer, checkpoint: Path) -> PreTrainedTokenizerBase:
    """The checkpoint's tokenizer in Rust (`fast`) or in Python (`slow`).

    `AutoTokenizer(use_fast=False)` returns the fast one since transformers 5. The remaining Python tokenizer
    is BERT's WordPiece, which also serves its relatives.

    Raises:
        TrialStoppedError: `unavailable`, where transformers has no such tokenizer in Python.
    """
    if kind == "fast":
        return load_tokenizer(checkpoint)
    with TemporaryDirectory(prefix="harness-vocabulary-") as folder:
        if not (checkpoint / "vocab.txt").exists():
            checkpoint = _with_vocabulary(checkpoint, Path(folder))
        slow: PreTrainedTokenizerBase = BertTokenizerLegacy.from_pretrained(checkpoint, local_files_only=True)
    return slow


def _with_vocabulary(checkpoint: Path, folder: Path) -> Path:
    """The folder, filled with what BERT's tokenizer in Python reads: transformers 5 saves no `vocab.txt`."""
    model = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    if model.get("type") != "WordPiece":
        raise TrialStoppedError(
            "unavailable",
            f"transformers has no {model.get('type', 'such')} tokenizer in Python, only BERT's WordPiece",
            hint="leave slow out for it: exclude: [{checkpoint: ..., tokenizer: slow}]",
        )
    words = sorted(model["vocab"], key=model["vocab"].__getitem__)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    config = "tokenizer_config.json"
    if (checkpoint / config).exists():
        shutil.copy(checkpoint / config, folder / config)
    return folder


def write_rows(corpus: Corpus, folder: Path) -> DatasetDict:
    """The texts of both splits as `load_dataset` gives them: Arrow files, mapped into memory."""
    for name in SPLITS:
        _rows(getattr(corpus, name)).save_to_disk(folder / name)
    return DatasetDict({name: Dataset.load_from_disk(folder / name) for name in SPLITS})


def _rows(split: Split) -> Dataset:
    columns = zip(*split.texts, strict=True)
    return Dataset.from_dict({f"text{at}": list(texts) for at, texts in enumerate(columns)})


def tokenizing(
    rows: DatasetDict, tokenizer: PreTrainedTokenizerBase, way: Tokenization, max_length: int
) -> Callable[[], Encoded]:
    """What tokenises all rows in one way each time it is called, and reads nothing from a cache."""
    columns = rows[SPLITS[0]].column_names

    def encode(texts: Any) -> Any:
        return tokenizer(
            *(texts[column] for column in columns),
            truncation=True,
            max_length=max_length,
            return_token_type_ids=True,
        )

    def whole() -> Encoded:
        return {
            name: encode({column: split[column][:] for column in columns}) for name, split in rows.items()
        }

    def mapped() -> Encoded:
        batches = {} if way.batch_size is None else {"batch_size": way.batch_size}
        encoded: Encoded = rows.map(
            encode,
            batched=way.method == "map_batched",
            num_proc=way.num_proc,
            load_from_cache_file=False,
            **batches,
        )
        return encoded

    return whole if way.method == "whole" else mapped


@contextmanager
def parallelism(way: Tokenization, threads: int) -> Iterator[None]:
    """Parallel by the fast tokenizer's threads, or by processes where there are any: never by both.

    A process forked from one whose threads have worked may hang. Those of the tokenizer and of torch have not
    when `map` forks; Arrow's have, which its own handlers make safe.
    """
    wanted = {
        "TOKENIZERS_PARALLELISM": "true" if way.num_proc is None else "false",
        "RAYON_NUM_THREADS": str(threads),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def differing(encoded: Any, reference: TokenizedSplit) -> int:
    """How many examples of a split have other ids or token types than the reference, or are missing."""
    found = _flat(encoded)
    wanted = (reference.input_ids, reference.token_type_ids, reference.offsets)
    pairs: Iterator[tuple[Numbers, Numbers]] = zip(found, wanted, strict=True)
    if all(np.array_equal(one, other) for one, other in pairs):
        return 0
    unlike = sum(one != other for one, other in zip(_examples(*found), _examples(*wanted), strict=False))
    return unlike + abs(len(found[2]) - len(reference.offsets))


def _examples(ids: Numbers, types: Numbers, offsets: Numbers) -> Iterator[tuple[bytes, bytes]]:
    """Ids and token types of each example, in a form that compares."""
    for row in range(len(offsets) - 1):
        span = slice(*offsets[row : row + 2])
        yield ids[span].astype(np.int64).tobytes(), types[span].astype(np.int64).tobytes()


def _flat(encoded: Any) -> tuple[Numbers, Numbers, Numbers]:
    """Ids and token types end to end, shape (T,), and where each example begins, shape (N + 1,)."""
    if isinstance(encoded, Dataset):
        table = encoded.with_format("arrow")[:]
        ids, types = (table.column(name).combine_chunks() for name in ("input_ids", "token_type_ids"))
    else:
        ids, types = (pa.array(encoded[name]) for name in ("input_ids", "token_type_ids"))
    offsets = np.asarray(ids.offsets)
    begin, end = int(offsets[0]), int(offsets[-1])
    return np.asarray(ids.values)[begin:end], np.asarray(types.values)[begin:end], offsets - begin
