"""From the rows of a batch to tensors: the table of padding strategies' collators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from harness.model.values import Padding
from harness.training.batching import padded_length
from harness.training.tokenizing.tokens import TokenizedSplit


@dataclass(frozen=True, slots=True)
class Collator:
    """Pads rows of a split, as `DataCollatorWithPadding` does, straight from the flat arrays.

    `columns` are the model's inputs (`input_ids`, `attention_mask`, perhaps `token_type_ids`). `unpadded`
    batches are padded like `dynamic` ones here: the model's hooks take the padding out (`unpadding`).
    """

    split: TokenizedSplit
    padding: Padding
    columns: tuple[str, ...]
    longest: int
    pad_token_id: int

    def __call__(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """The batch of those rows: int64 tensors of shape (B, L), and `labels` of shape (B,).

        `labels` are float32 for a regression.
        """
        index = np.asarray(rows, dtype=np.int64)
        starts = self.split.offsets[index]
        lengths = self.split.offsets[index + 1] - starts
        width = padded_length(int(lengths.max()), self.padding, self.longest)
        # True at real tokens; row-major, so the flat source below meets it in order.
        mask = np.arange(width) < lengths[:, None]
        source = np.repeat(starts - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths) + np.arange(
            lengths.sum()
        )
        batch = {"attention_mask": mask.astype(np.int64)}
        for column, fill in (("input_ids", self.pad_token_id), ("token_type_ids", 0)):
            values = np.full(mask.shape, fill, dtype=np.int64)
            values[mask] = getattr(self.split, column)[source]
            batch[column] = values
        tensors = {column: torch.from_numpy(batch[column]) for column in self.columns}
        tensors["labels"] = torch.from_numpy(self.split.labels[index])
        return tensors
