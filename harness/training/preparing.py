"""What a trial starts from: the token arrays and the model that its job asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from transformers import set_seed

from harness.assets.checkpoint_limits import input_limits
from harness.model.job import Job, TrialStoppedError
from harness.model.seeds import number_of
from harness.training import ranks
from harness.training.batching import padded_length
from harness.training.checkpoints import LoadedModel, load_model
from harness.training.loading import Corpus
from harness.training.tokenizing.tokens import Tokenized, tokenize
from harness.training.variants.adapters import add_adapter
from harness.training.variants.known_variants import variants_of


def prepare_tokens(job: Job, corpus: Corpus) -> Tokenized:
    """The token arrays of both splits.

    Raises:
        TrialStoppedError: `failed`, for lengths that the checkpoint, or the rows, do not allow.
    """
    tokens = tokenize(corpus, Path(job.checkpoint.path), truncation_length(job), Path(job.cache_dir))
    check_padding(job, tokens)
    return tokens


def check_padding(job: Job, tokens: Tokenized) -> None:
    """Check that the checkpoint takes the rows as the trial pads them.

    Raises:
        TrialStoppedError: `failed`, for a fixed length below the longest row, or padding beyond the limit.
    """
    padding = job.trial.padding
    limit = input_limits(Path(job.checkpoint.path)).longest
    if padding.length is not None and padding.length < tokens.longest:
        raise TrialStoppedError(
            "failed",
            f"static length {padding.length} is shorter than the longest example, {tokens.longest} tokens",
            hint=f"lengthen it, or set task.max_length: {padding.length} for every variant",
        )
    if limit is not None and padded_length(tokens.longest, padding, tokens.longest) > limit:
        raise TrialStoppedError(
            "failed",
            f"{padding} pads beyond the {limit} tokens that {job.checkpoint.name} takes",
            hint="lower padding.length or padding.multiple_of",
        )


def truncation_length(job: Job) -> int:
    """The length in tokens at which an example is cut.

    Raises:
        TrialStoppedError: `failed`, where the checkpoint has no limit, or a lower one.
    """
    limit = input_limits(Path(job.checkpoint.path)).longest
    wanted = job.trial.task.max_length or limit
    if wanted is None:
        raise TrialStoppedError(
            "failed",
            f"{job.checkpoint.name} has no limit of tokens in its files",
            hint="set task.max_length",
        )
    if limit is not None and wanted > limit:
        raise TrialStoppedError(
            "failed",
            f"task.max_length {wanted} is more than the {limit} tokens that {job.checkpoint.name} takes",
            hint=f"set task.max_length to {limit} or less",
        )
    return wanted


def prepare_model(job: Job, corpus: Corpus, tokens: Tokenized, device: torch.device) -> LoadedModel:
    """A fresh model on its device, its head drawn from the seed, changed as the trial's variant asks.

    Raises:
        TrialStoppedError: `failed`, for a model or an attention that does not go with the padding, or targets
            of an adapter that are not in every layer; `unavailable` for an adapter without peft.
    """
    trial = job.trial
    if trial.train.gradient_checkpointing and trial.last_layer != "all":
        raise TrialStoppedError(
            "failed", "gradient checkpointing does not go with last_layer: cls", hint="set last_layer: all"
        )
    if trial.attention == "jagged" and trial.padding.strategy != "unpadded":
        raise TrialStoppedError(
            "failed", "jagged attention is for unpadded batches", hint="set attention: sdpa"
        )
    loads_as = next((each.loads_as for each in variants_of(trial) if each.loads_as is not None), None)
    set_seed(number_of(trial.seed, "init"))
    loaded = load_model(
        Path(job.checkpoint.path),
        labels=corpus.label_names,
        attention=loads_as or trial.attention,
        token_type_ids=trial.token_type_ids,
        allows=job.allows_weight,
    )
    if trial.train.gradient_checkpointing and not loaded.model.supports_gradient_checkpointing:
        raise TrialStoppedError(
            "unavailable",
            f"{loaded.model.config.model_type} has no gradient checkpointing in transformers",
            hint="set train.gradient_checkpointing: false for it",
        )
    if trial.adapter.kind == "lora":
        # On the CPU, so that a seed draws the same adapters for every device.
        loaded = add_adapter(loaded, trial.adapter)
    if trial.attention == "auto":
        trial = trial.model_copy(update={"attention": loaded.attention})
    loaded.model.to(device)  # type: ignore[arg-type] # transformers wraps nn.Module.to
    for variant in variants_of(trial):
        if variant.prepare is not None:
            variant.prepare(trial, loaded.model, tokens)
    ranks.seed_apart(number_of(trial.seed, "dropout"))
    return replace(loaded, attention=trial.attention)
