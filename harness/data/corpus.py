"""A data set as trials use it: two splits of texts and class ids, hashed, with their duplicates counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Split:
    """One split: `texts` has one tuple of one or two texts an example, `labels` its class from 0."""

    texts: list[tuple[str, ...]]
    labels: list[int]

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Corpus:
    """The training and the evaluation split, their label names, and the SHA-256 over all of it."""

    train: Split
    evaluation: Split
    label_names: tuple[str, ...]
    content_sha256: str

    @property
    def majority_share(self) -> float:
        """Share of the most frequent label in the evaluation split: what a constant answer scores."""
        return Counter(self.evaluation.labels).most_common(1)[0][1] / len(self.evaluation)


def make_corpus(train: Split, evaluation: Split, label_names: tuple[str, ...]) -> Corpus:
    """The corpus of two splits, hashed in their order."""
    digest = hashlib.sha256()
    for split in (train, evaluation):
        for texts, label in zip(split.texts, split.labels, strict=True):
            digest.update(_framed(texts, label))
    return Corpus(train, evaluation, label_names, digest.hexdigest())


def unordered_sha256(split: Split) -> str:
    """SHA-256 of a split's rows in any order: over the sorted digests of its rows."""
    rows = (
        hashlib.sha256(_framed(texts, label)).digest()
        for texts, label in zip(split.texts, split.labels, strict=True)
    )
    return hashlib.sha256(b"".join(sorted(rows))).hexdigest()


@dataclass(frozen=True, slots=True)
class DuplicateRows:
    """Rows whose texts occur in an earlier row of their split; `leaked`: evaluation rows also in training."""

    train: int
    evaluation: int
    leaked: int


def count_duplicates(corpus: Corpus) -> DuplicateRows:
    """Count rows with exactly equal texts, whatever their labels."""
    train, evaluation = set(corpus.train.texts), set(corpus.evaluation.texts)
    return DuplicateRows(
        train=len(corpus.train) - len(train),
        evaluation=len(corpus.evaluation) - len(evaluation),
        leaked=sum(texts in train for texts in corpus.evaluation.texts),
    )


def _framed(texts: tuple[str, ...], label: int) -> bytes:
    """The texts and the label of a row, each after its length in 8 bytes: different rows stay different."""
    fields = [text.encode() for text in (*texts, str(label))]
    return b"".join(len(one).to_bytes(8, "little") + one for one in fields)
