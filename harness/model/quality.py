"""Quality of one evaluation: its scores by metric name, and the predictions behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Annotated, Literal, Self, cast

from pydantic import AfterValidator, Field, model_validator

from harness.model.arrays import Logits
from harness.model.frozen import Frozen, is_none
from harness.model.measurements import check_range
from harness.model.metrics import METRICS, metrics_of, score_and_split


def _possible(scores: dict[str, float]) -> dict[str, float]:
    """Return the scores in the order of the table, those of further splits last; each has to be possible."""
    known = metrics_of("quality")
    for metric, value in scores.items():
        if score_and_split(metric)[0] not in known:
            raise ValueError(f"{metric!r} is not one of the quality metrics {', '.join(known)}")
        check_range(metric, value)
    ordered = [metric for metric in known if metric in scores]
    return {
        metric: scores[metric] for metric in (*ordered, *(name for name in scores if name not in METRICS))
    }


class Score(Frozen):
    """The scores of one evaluation by metric name, or the `reason` why its logits cannot be scored.

    `degenerate` is true where a single class is ever predicted, or of a regression a constant: its
    correlations are not among the scores.
    """

    scores: Annotated[dict[str, float], AfterValidator(_possible)] = Field(default_factory=dict)
    degenerate: bool = False
    reason: str | None = None

    @model_validator(mode="after")
    def _scored_or_explained(self) -> Self:
        if bool(self.scores) == (self.reason is not None):
            raise ValueError("either scores or a reason for having none")
        return self


class Scores(Frozen):
    """The scores of several evaluations, in their order, and the version of the metric module."""

    metric_version: str
    scores: tuple[Score, ...]


class OwnScore(Frozen):
    """The score of one evaluation by a user's metric, or the `reason` why it has none.

    `resampled` are its scores on resamples of the examples with replacement, which are the same for all
    evaluations of as many examples; `unresampled` is the reason why there are none.
    """

    value: float | None = None
    reason: Annotated[str | None, Field(exclude_if=is_none)] = None
    resampled: Annotated[tuple[float, ...], Field(exclude_if=lambda found: not found)] = ()
    unresampled: Annotated[str | None, Field(exclude_if=is_none)] = None

    @model_validator(mode="after")
    def _scored_or_explained(self) -> Self:
        if (self.value is None) == (self.reason is None):
            raise ValueError("either a value or a reason for having none")
        return self


class OwnAnswer(Frozen):
    """The scores of several evaluations by the metric of one file, in their order, or why there are none.

    `sha256` is the digest of the file that ran, None where it cannot be read.
    """

    sha256: str | None = None
    reason: str | None = None
    scores: tuple[OwnScore, ...] = ()


class OwnAnswers(Frozen):
    """An answer for each file, in their order."""

    answers: tuple[OwnAnswer, ...]


class OwnScores(Frozen):
    """A user's metric in a report: its scores by trial id, computed from the stored logits.

    `file` is the name of the file, and `version` its name with the SHA-256 of the content that ran.
    """

    label: str
    goal: Literal["max", "min"]
    file: str
    version: str
    scores: dict[str, OwnScore]


class Epoch(Frozen):
    """The end of one epoch: its number, from 1, its training loss in nats, and its scores by metric name."""

    epoch: Annotated[int, Field(ge=1)]
    train_loss: float
    scores: Annotated[dict[str, float], Field(min_length=1), AfterValidator(_possible)]

    @model_validator(mode="after")
    def _possible_loss(self) -> Self:
        check_range("train_loss", self.train_loss)
        return self

    @property
    def values(self) -> dict[str, float]:
        """The training loss and the scores, by metric name."""
        return {"train_loss": self.train_loss, **self.scores}


@lru_cache(maxsize=32)
def _shared(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Return an equal tuple that was given before: the trials of a report have the same examples."""
    return numbers


def _shared_classes(labels: tuple[int | float, ...]) -> tuple[int | float, ...]:
    # Equal numbers of other types are one key of a cache.
    return labels if float in map(type, labels) else _shared(cast("tuple[int, ...]", labels))


SharedNumbers = Annotated[tuple[int, ...], AfterValidator(_shared)]


def _several(splits: dict[str, int]) -> dict[str, int]:
    if len(splits) == 1:
        raise ValueError("a single split has no parts")
    return splits


EvalSplits = Annotated[dict[str, Annotated[int, Field(ge=1)]], AfterValidator(_several)]
"""The number of examples of each evaluation split, in their order; empty where there is one."""


def parts_of(splits: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Return the first row of each split and the row after its last, where splits follow each other.

    >>> parts_of({"validation_matched": 3, "validation_mismatched": 2})
    {'validation_matched': (0, 3), 'validation_mismatched': (3, 5)}
    """
    return dict(zip(splits, pairwise([0, *accumulate(splits.values())]), strict=True))


class Predictions(Frozen):
    """The last evaluation, in data set order: everything can be scored again from it.

    `example_ids` (each one once) and `labels` (class numbers) have N entries, `logits` N rows of one number a
    class; N is at least 1. Of a regression `labels` are numbers and `logits` rows of one number.
    `lengths` are the tokens of each example, None in reports written before they were kept. `splits` has the
    number of examples of each evaluation split where there are several, one after another.
    """

    example_ids: SharedNumbers
    labels: Annotated[tuple[int | float, ...], AfterValidator(_shared_classes)]
    logits: Logits
    lengths: Annotated[SharedNumbers | None, Field(exclude_if=is_none)] = None
    splits: Annotated[EvalSplits, Field(exclude_if=lambda splits: not splits)] = Field(default_factory=dict)

    def on(self, split: str | None = None) -> Predictions | None:
        """Return the predictions on one evaluation split, None for one that was not evaluated.

        Args:
            split: the name of a further split; without one, the first or only split.
        """
        if not self.splits:
            return self if split is None else None
        for name, (start, end) in parts_of(self.splits).items():
            if split in (None, name):
                lengths = None if self.lengths is None else self.lengths[start:end]
                return Predictions(
                    example_ids=self.example_ids[start:end],
                    labels=self.labels[start:end],
                    logits=Logits(self.logits[start:end]),
                    lengths=lengths,
                )
        return None

    @model_validator(mode="after")
    def _of_each_split(self) -> Self:
        if self.splits and sum(self.splits.values()) != len(self.example_ids):
            raise ValueError(f"splits: {sum(self.splits.values())} of {len(self.example_ids)} examples")
        return self

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        ids, labels, rows = len(self.example_ids), len(self.labels), len(self.logits)
        if not ids == labels == rows:
            raise ValueError(f"{ids} example_ids, {labels} labels and {rows} rows of logits")
        if not ids or not self.logits[0]:
            raise ValueError("the predictions are empty")
        classes = len(self.logits[0])
        if classes == 1:
            if not all(map(math.isfinite, self.labels)):
                raise ValueError("a label is not finite")
        elif float in map(type, self.labels):
            raise ValueError(f"the labels are no class numbers, and the logits have {classes} classes")
        elif min(self.labels) < 0 or max(self.labels) >= classes:
            row = next(at for at, label in enumerate(self.labels) if not 0 <= label < classes)
            raise ValueError(
                f"label {self.labels[row]} of row {row} is none of the {classes} classes of the logits"
            )
        if self.lengths is not None and (len(self.lengths) != ids or min(self.lengths) < 1):
            raise ValueError(f"{len(self.lengths)} lengths of {ids} examples, each of which has a token")
        if len(set(self.example_ids)) < ids:
            raise ValueError("an example id occurs twice")
        return self
