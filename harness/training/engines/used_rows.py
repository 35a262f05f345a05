"""An embedding of only those rows that the data set uses, exact for training and evaluating on it.

A dense gradient has a row for every token that the checkpoint knows, and the optimizer reads and writes each
of them every step. MRPC uses two in five of BERT's 30,522; the others get no gradient and no look.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from harness.training.tokenizing.tokens import Tokenized


class UsedRows(nn.Module):
    """`embedding` without the rows of tokens outside of `used`, shape (U,); ids stay what they are."""

    def __init__(self, embedding: nn.Embedding, used: torch.Tensor) -> None:
        super().__init__()
        kept = embedding.weight.detach()[used].clone()
        self.weight = nn.Parameter(kept, requires_grad=embedding.weight.requires_grad)
        self.used = used
        # An unknown id finds no row, and fails as it would in the whole table.
        self.row = torch.full((embedding.num_embeddings,), len(used), device=used.device)
        self.row[used] = torch.arange(len(used), device=used.device)
        pad = embedding.padding_idx
        self.padding_row = None if pad is None else int(self.row[pad])

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Rows of shape (..., H) for ids of shape (...)."""
        return functional.embedding(self.row[input_ids], self.weight, self.padding_row)

    def whole_gradient(self) -> torch.Tensor:
        """The gradient of the whole table, zero where no row is used."""
        whole = self.weight.new_zeros(len(self.row), self.weight.shape[1])
        if self.weight.grad is not None:
            whole[self.used] = self.weight.grad
        return whole


def keep_used_rows(model: PreTrainedModel, tokens: Tokenized) -> None:
    """Replace the model's word embedding, where it is one."""
    embedding = model.get_input_embeddings()
    if not isinstance(embedding, nn.Embedding):
        return
    used = torch.from_numpy(_used(tokens, embedding)).to(embedding.weight.device)
    model.set_input_embeddings(UsedRows(embedding, used))


def _used(tokens: Tokenized, embedding: nn.Embedding) -> npt.NDArray[np.int64]:
    """Every token of both splits, and those that fill rows up."""
    fillers = {tokens.pad_token_id, embedding.padding_idx} - {None}
    ids = np.concatenate([tokens.train.input_ids, tokens.evaluation.input_ids, list(fillers)])
    return np.unique(ids).astype(np.int64)
