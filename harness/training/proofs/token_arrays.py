"""Token arrays: they are what their texts give, and tokens at padded positions change no logit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from transformers import AutoTokenizer

from harness.model.proof import TrainingCheck
from harness.training.checkpoints import LoadedModel
from harness.training.loading import Split
from harness.training.proofs.findings import largest, within
from harness.training.proofs.reference_batches import inputs_of, row_of
from harness.training.tokenizing.tokens import Tokenized, TokenizedSplit

# A masked score is the lowest number of its type, whose softmax is exactly zero, so that nothing but another
# order of summation may differ. A bias of -10 instead changes the logits by 1e-5 and more.
PADDING_LIMIT: Final = 2e-6


@torch.no_grad()
def check_padding(loaded: LoadedModel, tokens: Tokenized, device: torch.device) -> TrainingCheck:
    """Compare the logits of short rows for different tokens at their padded positions, in both modes.

    Args:
        loaded: a model without dropout, prepared as the engine trains it.
        tokens: the rows; the shortest are padded to the length of the longest.
        device: of the model.
    """
    lengths = tokens.train.lengths
    rows = [*lengths.argsort()[:3].tolist(), int(lengths.argmax())]
    inputs = inputs_of(
        tokens.train, rows, pad_token_id=tokens.pad_token_id, types="token_type_ids" in loaded.columns
    )
    padded = inputs["attention_mask"] == 0
    given = torch.from_numpy(tokens.train.input_ids[: int(padded.sum())].astype("int64"))
    other = inputs | {"input_ids": inputs["input_ids"].masked_scatter(padded, given)}
    model, training, apart = loaded.model, loaded.model.training, []
    for mode in (False, True):
        model.train(mode)
        one, two = (
            model(**{name: tensor.to(device) for name, tensor in each.items()}).logits
            for each in (inputs, other)
        )
        apart.append(float((one - two).abs().max()))
    model.train(training)
    return within(
        "padding", "largest difference by tokens at padded positions", largest(apart), PADDING_LIMIT
    )


def wrong_rows(
    checkpoint: Path, max_length: int, splits: Sequence[tuple[Split, TokenizedSplit, Sequence[int]]]
) -> int:
    """How many of the chosen rows have other token ids, types, labels or ids than their texts and place give.

    Args:
        checkpoint: the folder with the tokenizer's files.
        max_length: where rows are cut, in tokens.
        splits: the texts and labels of a split, its arrays, and the rows to look at.
    """
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    wrong = 0
    for split, tokens, rows in splits:
        for row in rows:
            encoded = tokenizer(
                *split.texts[row], truncation=True, max_length=max_length, return_token_type_ids=True
            )
            span = slice(*tokens.offsets[row : row + 2])
            wrong += (
                row_of(tokens, row) != tuple(encoded["input_ids"])
                or tokens.token_type_ids[span].tolist() != list(encoded["token_type_ids"])
                or tokens.labels[row].item() != split.labels[row]
                or int(tokens.example_ids[row]) != row
            )
        wrong += abs(len(split) - len(tokens))
    return wrong
