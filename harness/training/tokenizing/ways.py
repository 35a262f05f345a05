"""The two tokenizers of a checkpoint, in Rust and in Python, and the ways to run them over a data set."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Dataset, DatasetDict
from transformers import PreTrainedTokenizerBase
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from harness.model.job import TrialStoppedError
from harness.model.values import Tokenization, Tokenizer
from harness.training.data import Corpus, Split
from harness.training.tokenizing.token_cache import SPLITS
from harness.training.tokenizing.tokens import TokenizedSplit, load_tokenizer

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
