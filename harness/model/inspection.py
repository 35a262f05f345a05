"""The request of `harness inspect` to a separate process, and the answer: data tokenized and in batches."""

from __future__ import annotations

from typing import Literal

from harness.model.frozen import Frozen
from harness.model.job import Job


class InspectionRequest(Frozen):
    """Jobs of one checkpoint and data set, one for each way of padding.

    `example` is a row of the training split and `batch` a batch of its first epoch; both count from 0.
    """

    jobs: tuple[Job, ...]
    example: int = 0
    batch: int = 0


class Example(Frozen):
    """One row, raw and tokenized.

    `texts` are by column. `length_uncut` is the number of tokens without truncation. `token_type_ids` are
    those of the tokenizer, whether or not the model takes them. The name of a class is `label_name`, or the
    column of a number to predict.
    """

    row: int
    texts: dict[str, str]
    label: int | float
    label_name: str
    tokens: tuple[str, ...]
    input_ids: tuple[int, ...]
    token_type_ids: tuple[int, ...]
    attention_mask: tuple[int, ...]
    unknown_tokens: int
    length_uncut: int


class InspectedBatch(Frozen):
    """One batch under one padding: its rows and their lengths, and its shape in rows and tokens a row.

    `order` is `file` for consecutive rows, and `training` for the rows that the first epoch draws. Where the
    padding cannot be used, `reason` explains it and the numbers are None.
    """

    padding: str
    batch_size: int
    order: Literal["file", "training"]
    rows: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()
    shape: tuple[int, int] | None = None
    real_tokens: int | None = None
    computed_tokens: int | None = None
    reason: str | None = None


class SplitCounts(Frozen):
    """One split in numbers; `unknown_share` is None for a tokenizer without an unknown token."""

    split: str
    rows: int
    tokens: int
    shortest: int
    mean: float
    longest: int
    unknown_share: float | None


class LengthBin(Frozen):
    """How many rows of each split have from `least` to `most` tokens."""

    least: int
    most: int
    train: int
    evaluation: int


class ModelInputs(Frozen):
    """The parameters of the model's `forward`, and the columns it gets; `note` explains a missing one."""

    name: str
    parameters: tuple[str, ...]
    columns: tuple[str, ...]
    note: str | None


class Inspection(Frozen):
    """The data of one suite as one checkpoint sees them, before any training."""

    checkpoint: str
    stand_in_for: str | None
    data: str
    tokenizer: str
    vocabulary: int
    max_length: int
    truncated: int
    seed: int
    example: Example
    batches: tuple[InspectedBatch, ...]
    splits: tuple[SplitCounts, ...]
    lengths: tuple[LengthBin, ...]
    model: ModelInputs


class InspectionAnswer(Frozen):
    """The inspection, or the reason why there is none, with a hint."""

    found: Inspection | None = None
    reason: str | None = None
    hint: str | None = None
