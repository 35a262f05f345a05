"""Tokenising once: `Dataset.map(batched=True)` into flat arrays on disk that every trial maps into memory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from datasets import Dataset
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from harness.assets.checkpoint_folder import TOKENIZER_FILES
from harness.training.data import Corpus, Split

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class TokenizedSplit:
    """One split as flat arrays: example i is `input_ids[offsets[i]:offsets[i + 1]]`.

    Shapes: `input_ids` and `token_type_ids` (T,), `offsets` (N + 1,), `labels` and `example_ids` (N,).
    """

    input_ids: npt.NDArray[np.int32]
    token_type_ids: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    example_ids: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.labels)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of every example, special tokens included, shape (N,)."""
        return np.diff(self.offsets)

    def select(self, rows: npt.NDArray[np.int64]) -> Self:
        """A split of these rows alone, in memory."""
        spans = [slice(*self.offsets[row : row + 2]) for row in rows]
        return type(self)(
            input_ids=np.concatenate([self.input_ids[span] for span in spans]),
            token_type_ids=np.concatenate([self.token_type_ids[span] for span in spans]),
            offsets=np.concatenate(([0], np.cumsum(self.lengths[rows]))),
            labels=self.labels[rows],
            example_ids=self.example_ids[rows],
        )

    def save(self, folder: Path) -> None:
        """Write one `.npy` file an array into a new folder."""
        folder.mkdir()
        for name in self.__dataclass_fields__:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map the arrays of a folder into memory."""
        return cls(
            **{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls.__dataclass_fields__}
        )


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Both splits; `truncated` counts examples cut at `max_length`, `cached` tells of an earlier trial."""

    train: TokenizedSplit
    evaluation: TokenizedSplit
    max_length: int
    pad_token_id: int
    truncated: int
    cached: bool

    @property
    def longest(self) -> int:
        """Tokens of the longest example of both splits."""
        return int(max(self.train.lengths.max(), self.evaluation.lengths.max()))

    @property
    def mean_length(self) -> float:
        """Mean tokens of a training example."""
        return float(self.train.lengths.mean())


def tokenize(corpus: Corpus, checkpoint: Path, max_length: int, cache: Path) -> Tokenized:
    """Tokenise both splits, or map what an earlier trial left under `cache`.

    The key is the content, the tokenizer's files, the truncation length and the version of `tokenizers`:
    a tokenizer object's own fingerprint changes when it is called, so it cannot serve.

    Args:
        corpus: the texts.
        checkpoint: the folder with the tokenizer's files.
        max_length: longest row in tokens; longer ones are cut at their longer text first.
        cache: folder that trials share.
    """
    folder = cache / "tokens" / _key(corpus, checkpoint, max_length)
    cached = (folder / "meta.json").exists()
    if not cached:
        _build(corpus, checkpoint, max_length, folder)
    meta: dict[str, int] = json.loads((folder / "meta.json").read_text())
    return Tokenized(
        train=TokenizedSplit.load(folder / "train"),
        evaluation=TokenizedSplit.load(folder / "evaluation"),
        max_length=max_length,
        pad_token_id=meta["pad_token_id"],
        truncated=meta["truncated"],
        cached=cached,
    )


def load_tokenizer(checkpoint: Path) -> PreTrainedTokenizerBase:
    """The checkpoint's own fast tokenizer, from its files alone."""
    tokenizer = AutoTokenizer.from_pretrained(
        checkpoint, use_fast=True, local_files_only=True, trust_remote_code=False
    )
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise TypeError(f"{checkpoint.name}: {type(tokenizer).__name__} is no tokenizer")
    return tokenizer


def _key(corpus: Corpus, checkpoint: Path, max_length: int) -> str:
    digest = hashlib.sha256(
        f"{_FORMAT} {version('tokenizers')} {corpus.content_sha256} {max_length}".encode()
    )
    for name in TOKENIZER_FILES:
        if (file := checkpoint / name).exists():
            digest.update(name.encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:32]


def _build(corpus: Corpus, checkpoint: Path, max_length: int, folder: Path) -> None:
    tokenizer = load_tokenizer(checkpoint)
    if tokenizer.pad_token_id is None:
        raise ValueError(
            f"the tokenizer of {checkpoint.name} has no padding token: choose an encoder checkpoint"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft-"))
    try:
        truncated = 0
        for name, split in (("train", corpus.train), ("evaluation", corpus.evaluation)):
            tokenized, cut = _tokenize_split(split, tokenizer, max_length)
            tokenized.save(draft / name)
            truncated += cut
        (draft / "meta.json").write_text(
            json.dumps({"pad_token_id": tokenizer.pad_token_id, "truncated": truncated})
        )
        _publish(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _publish(draft: Path, folder: Path) -> None:
    """Two trials may build the same arrays at once: a folder appears whole, and the first one wins."""
    try:
        os.rename(draft, folder)  # noqa: PTH104 - Path.rename would do the same; errno is what matters here
    except OSError:
        if not (folder / "meta.json").exists():
            raise


def _tokenize_split(
    split: Split, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[TokenizedSplit, int]:
    columns = [f"text{i}" for i in range(len(split.texts[0]))]
    rows = Dataset.from_dict(dict(zip(columns, map(list, zip(*split.texts, strict=True)), strict=True)))

    def encode(batch: dict[str, list[str]]) -> dict[str, Any]:
        return dict(
            tokenizer(
                *(batch[column] for column in columns),
                truncation=True,
                max_length=max_length,
                padding=False,
                return_token_type_ids=True,
                return_attention_mask=False,
            )
        )

    encoded = rows.map(
        encode, batched=True, remove_columns=columns, load_from_cache_file=False, keep_in_memory=True
    ).with_format("arrow")[:]
    ids = encoded.column("input_ids").combine_chunks()
    types = encoded.column("token_type_ids").combine_chunks()
    offsets = np.asarray(ids.offsets, dtype=np.int64)
    at_limit = np.flatnonzero(np.diff(offsets) == max_length)
    return (
        TokenizedSplit(
            input_ids=np.asarray(ids.values, dtype=np.int32),
            token_type_ids=np.asarray(types.values, dtype=np.uint8),
            offsets=offsets - offsets[0],
            labels=np.asarray(split.labels, dtype=np.int64),
            example_ids=np.arange(len(split), dtype=np.int64),
        ),
        _count_truncated(split, at_limit, tokenizer, max_length),
    )


def _count_truncated(
    split: Split, at_limit: npt.NDArray[np.int64], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> int:
    """Of the rows that just reach the limit, those that would be longer without it."""
    return sum(
        len(tokenizer(*split.texts[row], truncation=False, verbose=False)["input_ids"]) > max_length
        for row in at_limit.tolist()
    )
