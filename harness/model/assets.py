"""Where a checkpoint or a data set was found: what resolution hands to a trial."""

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

    `requested` is the name in the suite, `name` what is used in fact: they differ for a stand-in.
    `path` is a folder with `config.json`, the tokenizer's files and `model.safetensors`; it is for this
    machine only and never enters a report. `revision` is the Hub's commit, where there is one. `digests`
    are those of the files when the run resolved them: a trial that reads other files must fail.
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

    A split has one file, or several parts that are read in this order.

    `layout` says how to read them: the embedded corpus and the Hub are Parquet files by split, `glue` and
    `microsoft` are the two tab-separated layouts of MRPC, `files` are `<split>.<parquet|jsonl|csv|tsv>`.
    Microsoft's has no validation file: its `dev_ids` lists the pairs of `train` that are that split.
    `files_sha256` covers the files when the run resolved them: a trial that reads other files must fail.
    """

    requested: str
    name: str
    source: DataSource
    layout: Literal["parquet", "glue", "microsoft", "files"]
    files: dict[str, tuple[str, ...]]
    revision: str | None = None
    synthetic: bool = False
    files_sha256: str | None = None
