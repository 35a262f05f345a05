"""Resolved assets: the files of a checkpoint or a data set on this machine."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.model.frozen import Frozen, is_none
from harness.model.quality import EvalSplits

AssetsMode = Literal["auto", "hub", "embedded"]
CheckpointSource = Literal["local", "hub cache", "hub", "package", "embedded"]
DataSource = Literal["folder", "hub cache", "hub", "embedded"]


class CheckpointDigests(Frozen):
    """SHA-256 of a checkpoint's files: the weights, `config.json`, and the tokenizer's files together."""

    weights: str
    config: str
    tokenizer: str


class ResolvedCheckpoint(Frozen):
    """A checkpoint's files on this machine.

    `requested` is the name in the suite and `name` the checkpoint in use; they differ for a stand-in.
    `path` is a folder with `config.json`, the tokenizer's files and `model.safetensors`; it
    applies to this machine only and is never written to a report. `revision` is the commit on the Hub, if
    any. `digests` were computed when the run resolved the files: a trial that reads other files must fail.
    """

    requested: str
    name: str
    source: CheckpointSource
    path: str
    revision: str | None = None
    stand_in: bool = False
    digests: CheckpointDigests | None = None


class ResolvedData(Frozen):
    """A data set's files on this machine, by split name: `train`, `validation`, and mostly `test`.

    A split consists of one file, or of several parts in reading order.

    `layout` is the file format: the embedded corpus and the Hub are Parquet files by split, `glue` and
    `microsoft` are the two tab-separated layouts of MRPC, `files` are `<split>.<parquet|jsonl|csv|tsv>`.
    The `microsoft` layout has no validation file: `dev_ids` lists the pairs of `train` in that split.
    `files_sha256` was computed when the run resolved the files: a trial that reads other files must fail.
    """

    requested: str
    name: str
    source: DataSource
    layout: Literal["parquet", "glue", "microsoft", "files"]
    files: dict[str, tuple[str, ...]]
    revision: str | None = None
    synthetic: bool = False
    files_sha256: str | None = None


class Checkpoint(Frozen):
    """The model that was trained in fact.

    `columns` are the inputs its `forward` was given; `newly_initialized` and `unused` name weights that the
    checkpoint lacked and that the model did not want. `config_sha256` covers `config.json`,
    `tokenizer_sha256` the tokenizer's files; both are None in reports written before they were recorded.
    `allowed_weights` are those of both kinds outside the head that only the suite's `allow_weights` accepts.
    `attention` is the implementation that ran: `eager`, `sdpa` or `jagged`.
    """

    requested: str
    name: str
    source: CheckpointSource
    revision: str | None
    stand_in: bool
    weights_sha256: str
    config_sha256: Annotated[str | None, Field(exclude_if=is_none)] = None
    tokenizer_sha256: Annotated[str | None, Field(exclude_if=is_none)] = None
    attention: Annotated[str | None, Field(exclude_if=is_none)] = None
    model_type: str
    parameters: int
    dtype: str
    columns: tuple[str, ...]
    columns_note: str | None = None
    newly_initialized: tuple[str, ...]
    unused: tuple[str, ...]
    allowed_weights: Annotated[tuple[str, ...], Field(exclude_if=lambda names: not names)] = ()


class Duplicates(Frozen):
    """Rows whose texts occur before: within the training split, within the evaluation split, across both.

    `leaked` counts evaluation rows whose texts are in the training split.
    """

    train: Annotated[int, Field(ge=0)]
    evaluation: Annotated[int, Field(ge=0)]
    leaked: Annotated[int, Field(ge=0)]


class Data(Frozen):
    """The data that was used in fact. `content_sha256` covers every text, label and id of all its splits.

    `files_sha256` covers the files they were read from; older reports have it for folders alone.
    `published` tells whether the splits equal the published ones of that name, None where no digests of
    these are known. With several evaluation splits `eval_examples` are those of all of them, `eval_splits`
    those of each, and `eval_majority_share` is that of the first.
    """

    requested: str
    name: str
    source: DataSource
    revision: str | None
    synthetic: bool
    content_sha256: str
    files_sha256: str | None = None
    published: Annotated[bool | None, Field(exclude_if=is_none)] = None
    duplicates: Annotated[Duplicates | None, Field(exclude_if=is_none)] = None
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    train_examples: Annotated[int, Field(ge=1)]
    eval_examples: Annotated[int, Field(ge=1)]
    eval_majority_share: Annotated[float, Field(gt=0, le=1)]
    eval_splits: Annotated[EvalSplits, Field(exclude_if=lambda splits: not splits)] = Field(
        default_factory=dict
    )
    max_length: Annotated[int, Field(ge=1)]
    longest: Annotated[int, Field(ge=1)]
    mean_length: Annotated[float, Field(gt=0)]
    truncated: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels: a class name occurs twice")
        if not self.mean_length <= self.longest <= self.max_length:
            raise ValueError(
                f"mean_length {self.mean_length:g}, longest {self.longest}, max_length {self.max_length}: "
                "each is at most the next"
            )
        examples = self.train_examples + self.eval_examples
        if self.truncated > examples:
            raise ValueError(f"truncated {self.truncated} of {examples} examples")
        if self.eval_splits and sum(self.eval_splits.values()) != self.eval_examples:
            raise ValueError(f"eval_splits: they do not add up to {self.eval_examples} examples")
        return self
