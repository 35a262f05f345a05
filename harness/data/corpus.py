"""A data set as trials use it: two splits of texts and class ids, hashed, with their duplicates counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.model.quality import parts_of


@dataclass(frozen=True, slots=True)
class Split:
    """One split: `texts` has a tuple of one or two texts per example, `labels` its class, from 0.

    Of a regression `labels` has a number for each.
    """

    texts: list[tuple[str, ...]]
    labels: list[int] | list[float]

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Corpus:
    """The training and the evaluation split, their label names, and the SHA-256 over all of these.

    `left_out` counts broken rows of the files that are in neither split. With several evaluation splits
    `evaluation` has the rows of all, one split after another, and `splits` the number of each.
    """

    train: Split
    evaluation: Split
    label_names: tuple[str, ...]
    content_sha256: str
    left_out: int = 0
    splits: Mapping[str, int] = field(default_factory=dict)

    @property
    def majority_share(self) -> float:
        """The share of the most frequent label in the first evaluation split: the accuracy of a constant."""
        first = self.evaluations()[0]
        return Counter[float](first.labels).most_common(1)[0][1] / len(first)

    def evaluations(self) -> list[Split]:
        """Return each evaluation split, in the order of the task."""
        if not self.splits:
            return [self.evaluation]
        return [
            Split(self.evaluation.texts[start:end], self.evaluation.labels[start:end])
            for start, end in parts_of(self.splits).values()
        ]


def make_corpus(
    train: Split,
    evaluation: Mapping[str, Split],
    label_names: tuple[str, ...],
    left_out: int = 0,
) -> Corpus:
    """Return the corpus of a training split and evaluation splits by name, hashed in row order."""
    digest = hashlib.sha256()
    for split in (train, *evaluation.values()):
        for texts, label in zip(split.texts, split.labels, strict=True):
            digest.update(_framed(texts, label))
    splits = {name: len(split) for name, split in evaluation.items()}
    return Corpus(
        train,
        _joined([*evaluation.values()]),
        label_names,
        digest.hexdigest(),
        left_out,
        splits if len(splits) > 1 else {},
    )


def _joined(splits: Sequence[Split]) -> Split:
    if len(splits) == 1:
        return splits[0]
    return Split(
        [texts for split in splits for texts in split.texts],
        [label for split in splits for label in split.labels],
    )


def unordered_sha256(split: Split) -> str:
    """Return a SHA-256 of a split that does not depend on the order of rows: over the sorted row digests."""
    rows = (
        hashlib.sha256(_framed(texts, label)).digest()
        for texts, label in zip(split.texts, split.labels, strict=True)
    )
    return hashlib.sha256(b"".join(sorted(rows))).hexdigest()


@dataclass(frozen=True, slots=True)
class DuplicateRows:
    """Rows whose texts occur in an earlier row of their split; `leaked`: evaluation rows also in training.

    `evaluation` counts those of every evaluation split.
    """

    train: int
    evaluation: int
    leaked: int


def count_duplicates(corpus: Corpus) -> DuplicateRows:
    """Count rows with exactly equal texts, whatever their labels."""
    train = set(corpus.train.texts)
    return DuplicateRows(
        train=len(corpus.train) - len(train),
        evaluation=sum(len(split) - len(set(split.texts)) for split in corpus.evaluations()),
        leaked=sum(texts in train for texts in corpus.evaluation.texts),
    )


def _framed(texts: tuple[str, ...], label: float) -> bytes:
    """Encode a row: texts and label, each after its length in 8 bytes, so that no two rows share a code."""
    fields = [text.encode() for text in (*texts, str(label))]
    return b"".join(len(one).to_bytes(8, "little") + one for one in fields)
