"""Whether token arrays are what their texts give: rows tokenised once more, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer

from harness.training.data import Split
from harness.training.proofs.reference_batches import row_of
from harness.training.tokenizing.tokens import TokenizedSplit


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
