"""Rows laid end to end from the first encoder layer to the last: the linear layers see no padding.

The idea is that of "unpadding" in NVIDIA's MLPerf BERT, MosaicBERT (Portes et al. 2023, arXiv:2312.17482) and
ModernBERT (Warner et al. 2024, arXiv:2412.13663). Here it needs no modelling code: transformers'
attention and mask interfaces and two hooks on the encoder serve any encoder that is built on them.

1. The mask interface hands the 2-D padding mask on as it is.
2. A hook before the encoder turns hidden states (B, L, H) into (1, F, H), F the real tokens and a filling of
   at most fifteen, and puts the `Layout` in the mask's place.
3. The attention function pads q, k and v alone, row by row, and calls the library's own kernel; `jagged` pads
   nothing.
4. A hook after the encoder puts the rows back into (B, L, H), so that pooling and heads stay the library's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from harness.model.values import Attention
from harness.training.batching import UNPADDED_MULTIPLE
from harness.training.variants.encoders import find_encoder, refusal, same_function
from harness.training.variants.jagged import Rows, jagged_attention

_INTERFACES: Final[dict[Attention, str]] = {
    "sdpa": "harness_unpadded_sdpa",
    "eager": "harness_unpadded_eager",
    "jagged": "harness_unpadded_jagged",
}


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The positions of the real tokens in a padded batch.

    `positions` (T,) are their places in the batch laid out flat, row by row; `filled` (F,) repeats the first
    behind them up to the next multiple of `UNPADDED_MULTIPLE`: results there are unused. `mask`
    is (B, L), true at real tokens; `offsets` (B + 1,) are the row boundaries in (T, ...).
    """

    positions: torch.Tensor
    filled: torch.Tensor
    mask: torch.Tensor
    offsets: torch.Tensor

    @classmethod
    def of(cls, mask: torch.Tensor) -> Layout:
        """The layout of a padding mask of shape (B, L)."""
        mask = mask.bool()
        offsets = functional.pad(mask.sum(dim=1).cumsum(0), (1, 0))
        positions = mask.flatten().nonzero().squeeze(1)
        filling = positions[:1].expand(-len(positions) % UNPADDED_MULTIPLE)
        return cls(positions, torch.cat([positions, filling]), mask, offsets)

    @property
    def firsts(self) -> torch.Tensor:
        """Where in (F, ...) each row of the batch begins, (B,)."""
        return self.offsets[:-1]

    def flatten(self, padded: torch.Tensor) -> torch.Tensor:
        """(B, L, ...) to (F, ...)."""
        return padded.flatten(0, 1).index_select(0, self.filled)

    def is_flat(self, tensor: torch.Tensor) -> bool:
        """Whether the shape is (F, ...), and not (B, ...) with one row per example."""
        return len(tensor) == len(self.filled)

    def without_filling(self, flat: torch.Tensor) -> torch.Tensor:
        """(F, ...) to (T, ...)."""
        return flat[: len(self.positions)]

    def with_filling(self, real: torch.Tensor) -> torch.Tensor:
        """(T, ...) to (F, ...), zero in the filling."""
        return functional.pad(real, (0, 0) * (real.ndim - 1) + (0, len(self.filled) - len(real)))

    def pad(self, flat: torch.Tensor) -> torch.Tensor:
        """(F, ...) to (B, L, ...), zero where there is no token."""
        padded = flat.new_zeros(self.mask.numel(), *flat.shape[1:])
        padded = padded.index_copy(0, self.positions, self.without_filling(flat))
        return padded.view(*self.mask.shape, *flat.shape[1:])


def unpad(model: PreTrainedModel, attention: Attention) -> None:
    """Make `model` compute on real tokens only, in place.

    Raises:
        TrialStoppedError: `failed`, for a model that does not work this way; nothing is left half done, since
            the trial ends with it.
    """
    refuse = refusal(model, "unpadded", "use padding: dynamic for it")
    encoder = find_encoder(model, refuse)
    with same_function(model, refuse):
        model.set_attn_implementation(_INTERFACES[attention])
        encoder.register_forward_pre_hook(_flatten_input, with_kwargs=True)
        encoder.register_forward_hook(_pad_output, with_kwargs=True)


def keep_padding_mask(
    batch_size: int,
    kv_length: int,
    *,
    attention_mask: torch.Tensor | None = None,
    device: torch.device,
    **_: Any,
) -> torch.Tensor:
    """The mask that unpadded models get: the padding mask as it is."""
    if attention_mask is None:
        return torch.ones(batch_size, kv_length, dtype=torch.bool, device=device)
    return attention_mask


def _flatten_input(
    _encoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    layout = Layout.of(kwargs["attention_mask"])
    kwargs = {**kwargs, "attention_mask": layout}
    # BERT passes its hidden states by position, DistilBERT by name.
    if args:
        return (layout.flatten(args[0]).unsqueeze(0), *args[1:]), kwargs
    return (), {**kwargs, "hidden_states": layout.flatten(kwargs["hidden_states"]).unsqueeze(0)}


def _pad_output(_encoder: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    layout: Layout = kwargs["attention_mask"]
    hidden = output.last_hidden_state.squeeze(0)
    # A last layer that computes first rows alone leaves (B, H).
    output.last_hidden_state = layout.pad(hidden) if layout.is_flat(hidden) else hidden.unsqueeze(1)
    return output


def flat_attention(
    kernel: Callable[..., tuple[torch.Tensor, torch.Tensor | None]],
    mask: Callable[[torch.Tensor, torch.dtype], torch.Tensor],
) -> Callable[..., tuple[torch.Tensor, None]]:
    """An attention function for flat rows, around the kernel of padded ones.

    q, k and v come as (1, heads, F, head size) and the result goes as (1, F, heads, head size). Where q has
    one row an example, (1, heads, B, head size), so has the result.
    """

    def attend(
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: Layout,
        **options: Any,
    ) -> tuple[torch.Tensor, None]:
        layout = attention_mask

        def pad(flat: torch.Tensor) -> torch.Tensor:
            rows = flat.squeeze(0).transpose(0, 1)
            return (layout.pad(rows) if layout.is_flat(rows) else rows.unsqueeze(1)).transpose(1, 2)

        queries = pad(query)
        out, _ = kernel(
            module, queries, pad(key), pad(value), mask(layout.mask[:, None, None, :], query.dtype), **options
        )
        return out.transpose(0, 1) if queries.shape[2] == 1 else layout.flatten(out).unsqueeze(0), None

    return attend


def _jagged_attention(
    _module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Layout,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """As `flat_attention`'s, with nothing padded."""
    layout = attention_mask
    flat = [tensor.squeeze(0).transpose(0, 1) for tensor in (query, key, value)]
    rows = Rows(layout.offsets, layout.mask.shape[1])
    key, value = (layout.without_filling(each) for each in flat[1:])
    if layout.is_flat(flat[0]):
        out = jagged_attention(
            layout.without_filling(flat[0]), key, value, rows=(rows, rows), dropout=dropout, scaling=scaling
        )
        return layout.with_filling(out).unsqueeze(0), None
    first = Rows.of_one_each(len(layout.mask), query.device)
    out = jagged_attention(flat[0], key, value, rows=(first, rows), dropout=dropout, scaling=scaling)
    return out.unsqueeze(0), None


def plain_attention(
    module: nn.Module, *tensors: torch.Tensor, **options: Any
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the eager attention that transformers defines next to the module's class."""
    plain = sys.modules[type(module).__module__].eager_attention_forward
    result: tuple[torch.Tensor, torch.Tensor | None] = plain(module, *tensors, **options)
    return result


def _boolean(mask: torch.Tensor, _dtype: torch.dtype) -> torch.Tensor:
    return mask


def additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the bias of scores: zero where the mask is true, the lowest number elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


AttentionInterface.register(_INTERFACES["sdpa"], flat_attention(sdpa_attention_forward, _boolean))
AttentionInterface.register(_INTERFACES["eager"], flat_attention(plain_attention, additive))
AttentionInterface.register(_INTERFACES["jagged"], _jagged_attention)
for _name in _INTERFACES.values():
    AttentionMaskInterface.register(_name, keep_padding_mask)
