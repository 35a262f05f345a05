"""Attention on the CPU while dropout is on, where torch has no fused kernel.

torch's `scaled_dot_product_attention` then takes its plain path, which computes bf16 in fp32 and draws its
masks one number at a time. This one computes products in the type of its inputs, keeps only what the
backward pass needs, and takes its masks from `dropout`. It serves without dropout too, so that a proof
without dropout covers the code that trains.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import bidirectional_mask_function, sdpa_mask

from harness.training.engines.dropout import DrawMask
from harness.training.variants.unpadding import additive, flat_attention, keep_padding_mask

Drop = Callable[[torch.Tensor], torch.Tensor]
"""Gives the dropout mask for attention weights of that shape and type."""


class WeightedSum(torch.autograd.Function):
    """softmax(q k' + bias), dropped, times v, over tensors of shape (B, heads, L, head size)."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        bias: torch.Tensor,
        drop: Drop | None,
    ) -> torch.Tensor:
        """`bias` spreads over (B, heads, L, L)."""
        ctx.heads = query.shape[:2]
        query, key, value = (tensor.flatten(0, 1) for tensor in (query, key, value))
        scores = torch.bmm(query, key.transpose(1, 2))
        scores.view(*ctx.heads, *scores.shape[1:]).add_(bias)
        weights = scores.softmax(dim=-1)
        mask = None if drop is None else drop(weights)
        dropped = weights if mask is None else weights * mask
        ctx.save_for_backward(query, key, value, weights, dropped, mask)
        summed = torch.bmm(dropped, value)
        return summed.view(*ctx.heads, *summed.shape[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients of query, key and value."""
        query, key, value, weights, dropped, mask = ctx.saved_tensors
        gradient = gradients[0].flatten(0, 1)
        of_value = torch.bmm(dropped.transpose(1, 2), gradient)
        of_weights = torch.bmm(gradient, value.transpose(1, 2))
        if mask is not None:
            of_weights.mul_(mask)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)  # noqa: SLF001 - autograd's own, in one pass
        found = (torch.bmm(of_scores, key), torch.bmm(of_scores.transpose(1, 2), query), of_value)
        return *(each.view(*ctx.heads, *each.shape[1:]) for each in found), None, None


def use_attention(model: PreTrainedModel, draw: DrawMask, *, unpadded: bool) -> None:
    """Let the model attend this way, with masks from `draw`, in padded batches or in unpadded ones."""
    attend = partial(_attend, draw=draw)
    name = "harness_loop_unpadded" if unpadded else "harness_loop"
    AttentionInterface.register(name, flat_attention(attend, additive) if unpadded else attend)
    AttentionMaskInterface.register(name, keep_padding_mask if unpadded else _additive_rows)
    model.set_attn_implementation(name)


def _attend(  # noqa: PLR0913 - as transformers calls it
    _module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    draw: DrawMask,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers asks of an attention function; `attention_mask` is added to the scores."""
    scaled = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    bias = query.new_zeros(()) if attention_mask is None else attention_mask.to(query.dtype)
    drop = partial(draw, p=dropout) if dropout else None
    with torch.autocast(query.device.type, enabled=False):
        summed: torch.Tensor = WeightedSum.apply(scaled, key, value, bias, drop)  # type: ignore[no-untyped-call] # torch leaves it so
    return summed.transpose(1, 2), None


def _additive_rows(
    *,
    attention_mask: torch.Tensor | None = None,
    mask_function: Callable[..., Any] = bidirectional_mask_function,
    **others: Any,
) -> torch.Tensor | None:
    """Return the bias added to scores, zero where a token is attended to.

    For a padding mask of shape (B, L) it has shape (B, 1, 1, L); for the masks of layers that attend within a
    window (ModernBERT), or causally, (B, 1, L, L).
    """
    if mask_function is not bidirectional_mask_function:
        others |= {"allow_is_bidirectional_skip": False, "allow_is_causal_skip": False}
        attended = sdpa_mask(attention_mask=attention_mask, mask_function=mask_function, **others)
        assert attended is not None
        # A padded row may attend to nothing. Each type of scores has this number, so that no softmax is NaN.
        return additive(attended, torch.bfloat16)
    if attention_mask is None:
        return None
    return additive(attention_mask.bool()[:, None, None, :], torch.float32)
