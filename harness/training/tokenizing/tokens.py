"""Tokenise once, with `Dataset.map(batched=True)`, into flat arrays that trials share through a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from datasets import Dataset
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from harness.assets.digest import config_sha256, tokenizer_sha256
from harness.training.loading import Corpus, Split
from harness.training.tokenizing.token_cache import (
    FORMAT,
    Entry,
    Shape,
    TokenArrays,
    UnusableEntryError,
    read_entry,
    write_entry,
)

# What turns texts into ids besides the files: both packages contain parts of a tokenizer.
_PACKAGES: Final = ("tokenizers", "transformers")


@dataclass(frozen=True, slots=True)
class TokenizedSplit:
    """One split as flat arrays: example i is `input_ids[offsets[i]:offsets[i + 1]]`.

    Shapes: `input_ids` and `token_type_ids` (T,), `offsets` (N + 1,), `labels` and `example_ids` (N,).
    `labels` are classes, or single-precision numbers of a regression.
    """

    input_ids: npt.NDArray[np.int32]
    token_type_ids: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float32]
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


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Both splits; `truncated` counts examples cut at `max_length`.

    `cached` is whether an earlier trial tokenised them; `notes` are sentences about a cache entry that could
    not be used or written. With several evaluation splits `evaluation` has the rows of all, one split after
    another, and `splits` the number of each.
    """

    train: TokenizedSplit
    evaluation: TokenizedSplit
    max_length: int
    pad_token_id: int
    truncated: int
    cached: bool
    notes: tuple[str, ...] = ()
    splits: Mapping[str, int] = field(default_factory=dict)

    @property
    def longest(self) -> int:
        """Tokens of the longest example of both splits."""
        return int(max(self.train.lengths.max(), self.evaluation.lengths.max()))

    @property
    def mean_length(self) -> float:
        """Mean tokens of a training example."""
        return float(self.train.lengths.mean())


def tokenize(corpus: Corpus, checkpoint: Path, max_length: int, cache: Path) -> Tokenized:
    """Tokenise both splits, or read the arrays that an earlier trial left under `cache`.

    The key covers the texts and labels, the checkpoint's tokenizer files and config, the truncation length
    and the versions of the packages that tokenise. A tokenizer object's own fingerprint cannot be used: it
    changes when the object is called. Labels are not cached; they come from the corpus.

    Args:
        corpus: the texts and labels.
        checkpoint: the folder with the tokenizer's files.
        max_length: longest row in tokens; longer ones are cut at their longer text first.
        cache: folder that trials share. An entry that is damaged is replaced, and a cache that cannot be
            written is done without; either adds a note.
    """
    key = _key(corpus, checkpoint, max_length)
    file = cache / "tokens" / f"{key}.tokens"
    notes = []
    entry = None
    try:
        entry = read_entry(file, Shape(key, len(corpus.train), len(corpus.evaluation), max_length))
    except UnusableEntryError as error:
        notes.append(f"token cache: entry {key[:12]} was not used ({error}): tokenised again")
    cached = entry is not None
    if entry is None:
        entry = _tokenize_corpus(corpus, checkpoint, max_length)
        # Tokenizer files that changed while they were read: their trial fails, and nobody else may use this.
        if _key(corpus, checkpoint, max_length) == key and (problem := write_entry(file, key, entry)):
            notes.append(
                f"token cache: entry {key[:12]} was not written ({problem}): used by this trial only"
            )
    return Tokenized(
        train=_with_labels(entry.train, corpus.train),
        evaluation=_with_labels(entry.evaluation, corpus.evaluation),
        max_length=max_length,
        pad_token_id=entry.pad_token_id,
        truncated=entry.truncated,
        cached=cached,
        notes=tuple(notes),
        splits=corpus.splits,
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
    parts = (
        FORMAT,
        # Other code could have written other arrays for the same texts.
        hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
        *(version(package) for package in _PACKAGES),
        corpus.content_sha256,
        tokenizer_sha256(checkpoint),
        # The model's type chooses the tokenizer's class where no tokenizer file names one.
        config_sha256(checkpoint),
        max_length,
    )
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:32]


def _with_labels(arrays: TokenArrays, split: Split) -> TokenizedSplit:
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float32] = np.asarray(split.labels, dtype=np.int64)
    if isinstance(split.labels[0], float):
        labels = np.asarray(split.labels, dtype=np.float32)
    return TokenizedSplit(
        *arrays,
        labels=labels,
        example_ids=np.arange(len(split), dtype=np.int64),
    )


def _tokenize_corpus(corpus: Corpus, checkpoint: Path, max_length: int) -> Entry:
    tokenizer = load_tokenizer(checkpoint)
    if tokenizer.pad_token_id is None:
        raise ValueError(
            f"the tokenizer of {checkpoint.name} has no padding token: choose an encoder checkpoint"
        )
    train, cut_train = _tokenize_split(corpus.train, tokenizer, max_length)
    evaluation, cut_evaluation = _tokenize_split(corpus.evaluation, tokenizer, max_length)
    return Entry(train, evaluation, tokenizer.pad_token_id, cut_train + cut_evaluation)


def _tokenize_split(
    split: Split, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[TokenArrays, int]:
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
        TokenArrays(
            input_ids=np.asarray(ids.values, dtype=np.int32),
            token_type_ids=np.asarray(types.values, dtype=np.uint8),
            offsets=offsets - offsets[0],
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
