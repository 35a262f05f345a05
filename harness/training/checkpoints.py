"""A fresh classifier from a checkpoint's files, and the keys found and missing in them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from harness.assets.checkpoint_folder import weight_files
from harness.model.job import TrialStoppedError
from harness.model.values import Attention, TokenTypeIds
from harness.training.weights import check_weights, stored_types


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in fp32 on the CPU, in training mode. `columns` are the inputs that its `forward` will get.

    `attention` is the implementation that computes, never `auto`. `parameters` is how many it came with: an
    engine may keep fewer. `trainable` of them, with an adapter's, train; an adapter adds `added`, and
    `adapter_note` describes it. `allowed` are the weights that the checkpoint lacks, or the model does not
    use, where only the suite's `allow_weights` accepts it.
    """

    model: PreTrainedModel
    attention: Attention
    parameters: int
    columns: tuple[str, ...]
    columns_note: str | None
    newly_initialized: tuple[str, ...]
    unused: tuple[str, ...]
    allowed: tuple[str, ...] = ()
    trainable: int = 0
    added: int = 0
    adapter_note: str | None = None


def load_model(
    folder: Path,
    *,
    labels: tuple[str, ...],
    attention: Attention,
    token_type_ids: TokenTypeIds,
    allows: Callable[[str], bool] = lambda _weight: False,
) -> LoadedModel:
    """Read a checkpoint as a sequence classifier with one output a label; one label is a regression's.

    Only safetensors are read and no code but transformers' own is run. Weights that the checkpoint lacks (at
    least the head) are drawn from torch's generator: seed it first.

    Raises:
        TrialStoppedError: `failed`, for a checkpoint without safetensors, an attention it does not have, or
            weights that do not fit its config and that `allows` does not accept by their names.
    """
    if not any(folder.glob("*.safetensors")):
        raise TrialStoppedError(
            "failed",
            f"{folder.name} has no safetensors",
            hint="convert it once with model.save_pretrained(FOLDER): pickled weights can run code",
        )
    stored = stored_types(weight_files(folder))
    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={name: index for index, name in enumerate(labels)},
            **({"problem_type": "regression"} if len(labels) == 1 else {}),
            # None takes sdpa where the model supports it, else eager.
            attn_implementation="eager" if attention == "eager" else None,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            # Differing shapes are refused by check_weights, which names them.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except ValueError as error:
        raise TrialStoppedError("failed", str(error).splitlines()[0]) from error
    used = _attention_of(model, attention)
    allowed = check_weights(model, stored, loading, allows)
    columns, note = model_columns(model, token_type_ids)
    model.train()
    return LoadedModel(
        model=model,
        attention=used,
        parameters=model.num_parameters(),
        columns=columns,
        columns_note=note,
        newly_initialized=tuple(sorted(loading["missing_keys"])),
        unused=tuple(sorted(loading["unexpected_keys"])),
        allowed=allowed,
        trainable=model.num_parameters(),
    )


def _attention_of(model: PreTrainedModel, asked: Attention) -> Attention:
    """The implementation that a model computes attention with, if it is the one asked for."""
    found: str | None = model.config._attn_implementation  # noqa: SLF001 - transformers has no other way to ask
    supported = getattr(model, "_supports_sdpa", False)
    if asked == "sdpa" and not supported:
        name = type(model).__name__.removesuffix("ForSequenceClassification")
        release = ".".join(transformers.__version__.split(".")[:2])
        raise TrialStoppedError(
            "failed",
            f"{name} has no SDPA attention in transformers {release}",
            hint="use attention: auto or eager",
        )
    wanted: Attention = "sdpa" if supported and asked != "eager" else "eager"
    if found != wanted:
        raise TrialStoppedError(
            "failed",
            f"attention: {asked} would compute {found} instead of {wanted}: config.json sets it",
            hint=f"use attention: {found}, or remove _attn_implementation from the checkpoint's config.json",
        )
    return wanted


def model_columns(model: PreTrainedModel, token_type_ids: TokenTypeIds) -> tuple[tuple[str, ...], str | None]:
    """The inputs a model gets, by its `forward` and its config, and a sentence about what it does not.

    A tokenizer cannot tell: DistilBERT's emits `token_type_ids`, and its `forward` swallows them unseen.
    """
    columns = ("input_ids", "attention_mask")
    kind = model.config.model_type
    if "token_type_ids" not in inspect.signature(model.forward).parameters:
        return columns, f"{kind} gets no token_type_ids: its forward does not take them"
    if getattr(model.config, "type_vocab_size", 0) < 2:
        return columns, f"{kind} gets no token_type_ids: its config knows a single type"
    if token_type_ids == "drop":
        return columns, f"{kind} gets no token_type_ids: dropped as asked"
    return (*columns, "token_type_ids"), None
