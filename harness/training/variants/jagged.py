"""Attention over rows of different length, concatenated, with nothing padded.

torch's nested tensors of layout jagged take the variable-length kernels on CUDA: flash attention in bf16 and
fp16, the memory-efficient one in fp32, both with dropout inside. On the CPU they compute the same, slowly.
On one H100 it was slower than padded attention at batch 8 (`reports/samples/cuda-h100`), and the proof of its
dropout there failed, for a reason that is not known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional


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
    """
    of_query, of_key = rows
    nested = functional.scaled_dot_product_attention(
        of_query.nest(query), of_key.nest(key), of_key.nest(value), dropout_p=dropout, scale=scaling
    )
    return nested.transpose(1, 2).values()
