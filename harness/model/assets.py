"""Resolved assets: the files of a checkpoint or a data set on this machine."""

from __future__ import annotations

from typing import Literal

from harness.model.frozen import Frozen

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
