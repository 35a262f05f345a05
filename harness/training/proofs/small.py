"""What a proof of training trains: a small model of the checkpoint's own class, and generated rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from harness.model.job import TrialStoppedError
from harness.training.tokenizing.tokens import Tokenized, TokenizedSplit

VOCABULARY: Final = 160
LONGEST: Final = 24
"""Tokens of the longest row: fewer than a head's size, so that attention's masks follow from its results."""

_SIZES: Final[dict[str, int]] = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 2,
    "intermediate_size": 96,
    "hidden_dim": 96,
    "pooler_hidden_size": 64,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 514,
}
# Unequal, so that one taken for another is seen; the first that a setting's name contains counts.
_RATES: Final[dict[str, float]] = {"attention": 0.3, "classif": 0.25, "embedding": 0.15, "dropout": 0.2}


def write_small(checkpoint: Path, folder: Path, *, dropout: bool) -> Path:
    """Write a checkpoint without a head into `folder`: two narrow layers, every parameter random.

    Biases and norms are random too: decay of a parameter that is zero would show nothing.

    Args:
        checkpoint: the folder whose `config.json` names the class and everything but sizes and rates.
        folder: where to write.
        dropout: with unequal rates at all sites, or without dropout.
    """
    config = AutoConfig.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    _shrink(config)
    for name, value in config.to_dict().items():
        if "dropout" in name and (value is None or isinstance(value, float | int)):
            rate = next(rate for part, rate in _RATES.items() if part in name)
            setattr(config, name, rate if dropout else 0.0)
    torch.manual_seed(0)
    # What a classifier is built around, as a pretrained checkpoint has it: no head, and no pooler if unused.
    model = cast("PreTrainedModel", _classifier(config).base_model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = parameter.ndim == 1 and not name.endswith("bias")
            parameter.normal_(1.0 if norm else 0.0, 0.1, generator=generator)
    model.save_pretrained(folder)
    return folder


def _classifier(config: PreTrainedConfig) -> PreTrainedModel:
    """A model of that config, in fp32.

    Raises:
        TrialStoppedError: `failed`, for a class that cannot be built so narrow.
    """
    try:
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call] # transformers leaves it so
    except (ValueError, TypeError, RuntimeError) as error:
        raise TrialStoppedError(
            "failed",
            f"no small {config.model_type} can be built to prove its training: {str(error).splitlines()[0]}",
        ) from error
    return model


def _shrink(config: PreTrainedConfig) -> None:
    embedding = getattr(config, "embedding_size", None)
    if embedding is not None:
        config.embedding_size = 64 if embedding == config.hidden_size else 48
    layers = config.num_hidden_layers
    for name, value in config.to_dict().items():
        # One entry a layer, such as the kind of its attention.
        if isinstance(value, list) and len(value) == layers:
            setattr(config, name, value[: _SIZES["num_hidden_layers"]])
    for name, size in _SIZES.items():
        if hasattr(config, name):
            setattr(config, name, size)
    for name, value in vars(config).copy().items():
        if name.endswith("_token_id") and isinstance(value, int) and value >= VOCABULARY:
            setattr(config, name, 0)


def small_rows(config: Any, train: int, evaluation: int, *, regression: bool = False) -> Tokenized:
    """Generated splits of that many rows of 6 to `LONGEST` tokens, all different, with labels 0 and 1.

    With `regression` labels are numbers from 0 to 5 instead. Half of the rows are longest, so that most
    batches have one shape; no token comes twice in a row.
    """
    random = np.random.default_rng(0)
    return Tokenized(
        train=_split(random, train, np.arange(train), regression=regression),
        evaluation=_split(random, evaluation, 500 + random.permutation(evaluation), regression=regression),
        max_length=LONGEST,
        pad_token_id=int(config.pad_token_id or 0),
        truncated=0,
        cached=True,
    )


def _split(
    random: np.random.Generator, count: int, ids: npt.NDArray[np.int64], *, regression: bool
) -> TokenizedSplit:
    lengths = np.where(random.random(count) < 0.5, LONGEST, random.integers(6, LONGEST, count))
    rows = [5 + random.permutation(VOCABULARY - 5)[:length] for length in lengths]
    types = [(np.arange(length) >= length // 2) for length in lengths]
    labels = random.permutation(np.arange(count) % 5 < 3).astype(np.int64)
    return TokenizedSplit(
        input_ids=np.concatenate(rows).astype(np.int32),
        token_type_ids=np.concatenate(types).astype(np.uint8),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        labels=random.uniform(0.0, 5.0, count).astype(np.float32) if regression else labels,
        example_ids=ids.astype(np.int64),
    )
