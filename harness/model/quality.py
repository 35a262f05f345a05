"""Quality of one evaluation: its scores by metric name, and the predictions behind them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Literal, Self, cast

from pydantic import AfterValidator, Field, model_validator

from harness.model.arrays import Logits
from harness.model.frozen import Frozen, is_none
from harness.model.measurements import check_range
from harness.model.metrics import metrics_of


def _possible(scores: dict[str, float]) -> dict[str, float]:
    """Return the scores in the order of the table of metrics, each of which has to be possible."""
    known = metrics_of("quality")
    for metric, value in scores.items():
        if metric not in known:
            raise ValueError(f"{metric!r} is not one of the quality metrics {', '.join(known)}")
        check_range(metric, value)
    return {metric: scores[metric] for metric in known if metric in scores}


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


class Predictions(Frozen):
    """The last evaluation, in data set order: everything can be scored again from it.

    `example_ids` (each one once) and `labels` (class numbers) have N entries, `logits` N rows of one number a
    class; N is at least 1. Of a regression `labels` are numbers and `logits` rows of one number.
    `lengths` are the tokens of each example, None in reports written before they were kept.
    """

    example_ids: SharedNumbers
    labels: Annotated[tuple[int | float, ...], AfterValidator(_shared_classes)]
    logits: Logits
    lengths: Annotated[SharedNumbers | None, Field(exclude_if=is_none)] = None

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
