"""Attention over rows of different length, concatenated, with nothing padded.

torch's nested tensors of layout jagged take the variable-length kernels on CUDA: flash attention in bf16 and
fp16, the memory-efficient one in fp32, both with dropout inside. On the CPU they compute the same, slowly.
On one H100 it was slower than padded attention at batch 8 (`reports/samples/cuda-h100`). In torch 2.11 the
kernel for fp32 drops the same weights in every head, and others in its backward pass, so that a kernel is
tried before it drops for the first time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import torch
from torch.nn import functional

from harness.model.job import TrialStoppedError

Attend = Callable[..., torch.Tensor]
"""`jagged_attention`, or a function of its arguments."""

# Rounding to bf16 gives 2e-3; another mask in the backward pass gives 0.6 and more.
_GRADIENT_LIMIT: Final = 2e-2


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Where rows begin in (T, ...): `offsets` (B + 1,) from 0 to T, and no row is longer than `longest`.

    Nested tensors fit each other only if they share the very same `offsets`.
    """

    offsets: torch.Tensor
    longest: int

    @classmethod
    def of_one_each(cls, count: int, device: torch.device) -> Rows:
        """Rows of one token."""
        return cls(torch.arange(count + 1, device=device), 1)

    def nest(self, flat: torch.Tensor) -> torch.Tensor:
        """(T, heads, head size) to a nested (B, heads, rows' lengths, head size)."""
        # Given bounds avoid reading the offsets, which would synchronize with the device.
        nested = torch.nested.nested_tensor_from_jagged(
            flat.contiguous(), self.offsets, min_seqlen=1, max_seqlen=self.longest
        )
        return nested.transpose(1, 2)


def jagged_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    rows: tuple[Rows, Rows],
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    """Every row of queries attends to its own row of keys alone.

    Args:
        query: (Tq, heads, head size).
        key: (T, heads, head size), as is `value`.
        value: see above.
        rows: of the queries, and of the keys; as many of the one as of the other.
        dropout: the probability with which an attention weight is dropped.
        scaling: of the scores; None takes 1 / sqrt(head size).

    Returns:
        (Tq, heads, head size).

    Raises:
        TrialStoppedError: `unavailable`, where torch's kernel for this type does not drop as it should.
    """
    if dropout:
        _check_dropout(query.device, query.dtype)
    return _attend(query, key, value, rows=rows, dropout=dropout, scaling=scaling)


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    rows: tuple[Rows, Rows],
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    of_query, of_key = rows
    nested = functional.scaled_dot_product_attention(
        of_query.nest(query), of_key.nest(key), of_key.nest(value), dropout_p=dropout, scale=scaling
    )
    return nested.transpose(1, 2).values()


@cache
def _check_dropout(device: torch.device, dtype: torch.dtype) -> None:
    if (problem := dropout_problem(_attend, device, dtype)) is not None:
        name = str(dtype).removeprefix("torch.")
        raise TrialStoppedError(
            "unavailable",
            f"attention: jagged: with {name} on {device.type}, torch {torch.__version__} {problem}",
            hint="set attention: sdpa, or on CUDA precision: bf16, which has another kernel",
        )


def dropout_problem(attend: Attend, device: torch.device, dtype: torch.dtype) -> str | None:
    """Return what is wrong with the dropout of an attention over jagged rows; None where nothing is.

    With unit vectors as values the result is the dropped weights themselves, which heads and rows must not
    share, and from which the gradient of the values follows.
    """
    heads, size, lengths = 2, 32, (32, 24)
    offsets = torch.tensor([0, lengths[0], sum(lengths)], device=device)
    rows = Rows(offsets, lengths[0])
    generator = torch.Generator().manual_seed(0)
    query, key, incoming = (
        torch.randn(sum(lengths), heads, size, generator=generator).to(device, dtype) for _ in range(3)
    )
    units = torch.cat([torch.eye(size)[:length] for length in lengths])[:, None].expand(-1, heads, -1)
    value = units.to(device, dtype).contiguous().requires_grad_()
    devices = [device] if device.type == "cuda" else []
    autocast_off = torch.autocast(device.type, enabled=False)
    with torch.random.fork_rng(devices=devices), torch.enable_grad(), autocast_off:
        out = attend(query, key, value, rows=(rows, rows), dropout=0.5, scaling=None)
        (gradient,) = torch.autograd.grad(out, value, incoming)
    masks = []
    for start, end in pairwise(offsets.tolist()):
        weights, given, found = (
            each.detach()[start:end].transpose(0, 1).double() for each in (out, incoming, gradient)
        )
        weights = weights[..., : end - start]
        expected = weights.transpose(1, 2) @ given
        if float((found - expected).norm() / expected.norm()) > _GRADIENT_LIMIT:
            return "drops other weights in the backward pass than in the forward pass"
        masks.append(weights[:, : lengths[1], : lengths[1]] == 0)
    if any(torch.equal(mask[0], mask[1]) for mask in masks) or torch.equal(masks[0], masks[1]):
        return "drops the same weights in every head or row"
    return None
