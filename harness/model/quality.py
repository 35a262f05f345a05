"""Quality of one evaluation: its scores by metric name, and the predictions behind them."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from harness.model.frozen import Frozen
from harness.model.measurements import check_range
from harness.model.metrics import METRICS


class Epoch(Frozen):
    """What one epoch ended with; `epoch` counts from 1, losses are in nats."""

    epoch: Annotated[int, Field(ge=1)]
    train_loss: float
    eval_loss: float
    eval_accuracy: float
    eval_f1: float
    eval_mcc: float

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        for metric in EPOCH_METRICS:
            check_range(metric, getattr(self, metric))
        return self


EPOCH_METRICS: Final = tuple(name for name in Epoch.model_fields if name in METRICS)


class Predictions(Frozen):
    """The last evaluation, in data set order: everything can be scored again from it.

    `example_ids` (each one once) and `labels` (class numbers) have N entries, `logits` N rows of one number a
    class; N is at least 1.
    """

    example_ids: tuple[int, ...]
    labels: tuple[int, ...]
    logits: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        ids, labels, rows = len(self.example_ids), len(self.labels), len(self.logits)
        if not ids == labels == rows:
            raise ValueError(f"{ids} example_ids, {labels} labels and {rows} rows of logits")
        if not ids or not self.logits[0]:
            raise ValueError("the predictions are empty")
        classes = len(self.logits[0])
        if set(map(len, self.logits)) != {classes}:
            row = next(at for at, logits in enumerate(self.logits) if len(logits) != classes)
            length = len(self.logits[row])
            raise ValueError(f"row {row} of logits has {length} numbers, the first one has {classes}")
        if min(self.labels) < 0 or max(self.labels) >= classes:
            row = next(at for at, label in enumerate(self.labels) if not 0 <= label < classes)
            raise ValueError(
                f"label {self.labels[row]} of row {row} is none of the {classes} classes of the logits"
            )
        if len(set(self.example_ids)) < ids:
            raise ValueError("an example id occurs twice")
        return self
