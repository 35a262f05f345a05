"""Order, padding and inputs of a training, written apart from the code that engines use."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel
from transformers.trainer_pt_utils import BatchRebalanceSampler

from harness.model.values import Padding, PaddingStrategy, TokenTypeIds
from harness.training.tokenizing.tokens import TokenizedSplit

Batch = list[int]


def draw_batches(
    lengths: npt.NDArray[np.int64],
    size: int,
    strategy: PaddingStrategy,
    seed: int,
    epoch: int,
    accumulated: int = 1,
) -> list[Batch]:
    """The rows of each batch of an epoch, counted from 0, as the documentation of the paddings defines them.

    A permutation drawn from (seed, epoch), cut into batches, the last one short. `bucketed` first sorts each
    stretch of 50 batches by falling length, then shuffles the batches, drawn from (seed, epoch, 1).
    `group_by_length` and `batch_rebalance` are those of `Trainer`, with `accumulated` batches a step; the
    second comes from the library's own sampler.
    """
    if strategy == "group_by_length":
        order = _grouped_by_length(lengths, size * accumulated, seed, epoch)
        return [order[start : start + size] for start in range(0, len(order), size)]
    if strategy == "batch_rebalance":
        sampler = BatchRebalanceSampler(lengths.tolist(), size * accumulated, 1, accumulated, drop_last=False)
        sampler.epoch = epoch
        return list(sampler)
    order = np.random.default_rng([seed, epoch]).permutation(len(lengths)).tolist()
    if strategy != "bucketed":
        return [order[start : start + size] for start in range(0, len(order), size)]
    batches: list[Batch] = []
    for start in range(0, len(order), 50 * size):
        window = sorted(order[start : start + 50 * size], key=lambda row: -int(lengths[row]))
        batches += [window[first : first + size] for first in range(0, len(window), size)]
    return [batches[at] for at in np.random.default_rng([seed, epoch, 1]).permutation(len(batches))]


def count_computed(lengths: Sequence[int], padding: Padding, longest: int) -> int:
    """Tokens that linear layers compute for rows padded to one length, or laid end to end, in sixteens."""
    if padding.strategy == "unpadded":
        return math.ceil(sum(lengths) / 16) * 16
    width = (padding.length or longest) if padding.strategy == "static" else max(lengths)
    return len(lengths) * math.ceil(width / (padding.multiple_of or 1)) * (padding.multiple_of or 1)


def _grouped_by_length(lengths: npt.NDArray[np.int64], size: int, seed: int, epoch: int) -> list[int]:
    """Stretches of a permutation by falling length, 50 or a quarter of the steps each; the longest row first.

    Each epoch draws the seed of its data loader first, then its permutation.
    """
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    for _ in range(epoch + 1):
        torch.empty((), dtype=torch.int64).random_(generator=generator)
        order = torch.randperm(len(lengths), generator=generator).tolist()
    width = size * max(1, min(50, len(order) // (4 * size)))
    windows = [
        sorted(order[start : start + width], key=lambda row: -int(lengths[row]))
        for start in range(0, len(order), width)
    ]
    longest = max(range(len(windows)), key=lambda at: int(lengths[windows[at][0]]))
    windows[0][0], windows[longest][0] = windows[longest][0], windows[0][0]
    return [row for window in windows for row in window]


def share_out(batch: Batch, ranks: int) -> list[Batch]:
    """The rows of each rank: consecutive ones, those of the first ranks one more where it does not divide."""
    whole, rest = divmod(len(batch), ranks)
    starts = [rank * whole + min(rank, rest) for rank in range(ranks + 1)]
    return [batch[start:end] for start, end in pairwise(starts)]


def row_of(split: TokenizedSplit, row: int) -> tuple[int, ...]:
    """The token ids of a row."""
    return tuple(split.input_ids[split.offsets[row] : split.offsets[row + 1]].tolist())


def takes_types(model: PreTrainedModel, token_type_ids: TokenTypeIds) -> bool:
    """Whether the model is given `token_type_ids`: its forward takes them and it has two types of them."""
    if token_type_ids == "drop":
        return False
    return (
        "token_type_ids" in inspect.signature(model.forward).parameters
        and (getattr(model.config, "type_vocab_size", None) or 0) > 1
    )


def inputs_of(
    split: TokenizedSplit, rows: Sequence[int], *, pad_token_id: int, types: bool
) -> dict[str, torch.Tensor]:
    """The model's inputs for these rows, padded to the longest of them, without labels."""
    spans = [range(int(split.offsets[row]), int(split.offsets[row + 1])) for row in rows]
    width = max(map(len, spans))

    def padded(values: npt.NDArray[np.int32] | npt.NDArray[np.uint8], fill: int) -> torch.Tensor:
        return torch.tensor(
            [[int(values[at]) for at in span] + [fill] * (width - len(span)) for span in spans]
        )

    inputs = {
        "input_ids": padded(split.input_ids, pad_token_id),
        "attention_mask": torch.tensor([[1] * len(span) + [0] * (width - len(span)) for span in spans]),
    }
    if types:
        inputs["token_type_ids"] = padded(split.token_type_ids, 0)
    return inputs


def labels_of(split: TokenizedSplit, rows: Sequence[int]) -> torch.Tensor:
    """The classes of these rows, or the numbers of a regression."""
    return torch.tensor([split.labels[row].item() for row in rows])
