"""Describe the checkpoint and the data that a trial used, for its result."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from safetensors import safe_open

from harness.assets.checkpoint_folder import weight_files
from harness.assets.digest import checkpoint_digests, files_sha256
from harness.data.corpus import count_duplicates
from harness.data.mrpc import is_published
from harness.model.assets import Checkpoint, Data, Duplicates
from harness.model.job import Job
from harness.training.checkpoints import LoadedModel
from harness.training.loading import Corpus
from harness.training.tokenizing.tokens import Tokenized
from harness.training.variants.attention import attention_of


def describe_checkpoint(job: Job, loaded: LoadedModel) -> Checkpoint:
    """The checkpoint as a report keeps it, with no path of this machine."""
    return Checkpoint(
        **_describe_files(job),
        attention=str(attention_of(job.trial.model_copy(update={"attention": loaded.attention}))),
        model_type=loaded.model.config.model_type,
        parameters=loaded.parameters,
        dtype=str(loaded.model.dtype).removeprefix("torch."),
        columns=loaded.columns,
        columns_note=loaded.columns_note,
        newly_initialized=loaded.newly_initialized,
        unused=loaded.unused,
        allowed_weights=loaded.allowed,
    )


def describe_files(job: Job) -> Checkpoint:
    """The checkpoint of a trial that loads no model, as far as its files tell."""
    folder = Path(job.checkpoint.path)
    return Checkpoint(
        **_describe_files(job),
        model_type=json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"],
        parameters=sum(map(_parameters, weight_files(folder))),
        dtype="not loaded",
        columns=(),
        newly_initialized=(),
        unused=(),
    )


def _describe_files(job: Job) -> dict[str, Any]:
    digests = checkpoint_digests(Path(job.checkpoint.path))
    return {
        "requested": job.checkpoint.requested,
        "name": job.checkpoint.name,
        "source": job.checkpoint.source,
        "revision": job.checkpoint.revision,
        "stand_in": job.checkpoint.stand_in,
        "weights_sha256": digests.weights,
        "config_sha256": digests.config,
        "tokenizer_sha256": digests.tokenizer,
    }


def _parameters(weights: Path) -> int:
    with safe_open(weights, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping


def describe_data(job: Job, corpus: Corpus, tokens: Tokenized) -> Data:
    """The data set as a report keeps it."""
    duplicates = count_duplicates(corpus)
    return Data(
        requested=job.data.requested,
        name=job.data.name,
        source=job.data.source,
        revision=job.data.revision,
        synthetic=job.data.synthetic,
        content_sha256=corpus.content_sha256,
        files_sha256=files_sha256(job.data.files),
        published=None if job.data.synthetic else is_published(job.trial.task, corpus),
        duplicates=Duplicates(
            train=duplicates.train, evaluation=duplicates.evaluation, leaked=duplicates.leaked
        ),
        labels=corpus.label_names,
        train_examples=len(corpus.train),
        eval_examples=len(corpus.evaluation),
        eval_majority_share=corpus.majority_share,
        eval_splits=dict(corpus.splits),
        max_length=tokens.max_length,
        longest=tokens.longest,
        mean_length=tokens.mean_length,
        truncated=tokens.truncated,
    )
