"""No padded position in the linear layers: rows are flat from the first encoder layer to the last.

The idea is that of "unpadding" in NVIDIA's MLPerf BERT, MosaicBERT (Portes et al. 2023, arXiv:2312.17482) and
ModernBERT (Warner et al. 2024, arXiv:2412.13663). Here it needs no modelling code of its own: transformers'
attention and mask interfaces and two hooks on the encoder serve any encoder that is built on them.

1. The mask interface hands the 2-D padding mask on as it is.
2. A hook before the encoder turns hidden states (B, L, H) into (1, T, H), T the real tokens, and puts the
   `Layout` in the mask's place.
3. The attention function pads q, k and v alone, row by row, and calls the library's own kernel.
4. A hook after the encoder puts the rows back into (B, L, H), so that pooling and heads stay the library's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from harness.job import TrialStoppedError
from harness.trial import Attention

_INTERFACES: Final[dict[Attention, str]] = {
    "sdpa": "harness_unpadded_sdpa",
    "eager": "harness_unpadded_eager",
}

# Names under which transformers' encoders keep the stack of layers.
_ENCODERS: Final = ("encoder", "transformer")


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where the real tokens of a padded batch stand.

    `positions` (T,) are their places in the batch laid out flat, row by row; `mask` is (B, L), true at them.
    """

    positions: torch.Tensor
    mask: torch.Tensor

    @classmethod
    def of(cls, mask: torch.Tensor) -> Layout:
        """The layout of a padding mask of shape (B, L)."""
        mask = mask.bool()
        return cls(mask.flatten().nonzero().squeeze(1), mask)

    def flatten(self, padded: torch.Tensor) -> torch.Tensor:
        """(B, L, ...) to (T, ...)."""
        return padded.flatten(0, 1).index_select(0, self.positions)

    def pad(self, flat: torch.Tensor) -> torch.Tensor:
        """(T, ...) to (B, L, ...), zero where there is no token."""
        padded = flat.new_zeros(self.mask.numel(), *flat.shape[1:]).index_copy(0, self.positions, flat)
        return padded.view(*self.mask.shape, *flat.shape[1:])


def unpad(model: PreTrainedModel, attention: Attention) -> None:
    """Make `model` compute on real tokens only, in place.

    Raises:
        TrialStoppedError: `failed`, for a model that does not work this way; nothing is left half done, since
            the trial ends with it.
    """
    encoder = _find_encoder(model)
    expected = _probe(model)
    model.set_attn_implementation(_INTERFACES[attention])
    encoder.register_forward_pre_hook(_flatten_input, with_kwargs=True)
    encoder.register_forward_hook(_pad_output, with_kwargs=True)
    difference = (_probe(model) - expected).abs().max().item()
    # Far above rounding in fp32, far below what attention across rows or a lost row would do.
    if not difference <= 1e-4 * expected.abs().max().item():
        raise _refusal(model, f"its logits differ by {difference:.3g} from the padded ones")


def _find_encoder(model: PreTrainedModel) -> nn.Module:
    base = model.base_model
    encoder = next(
        (found for name in _ENCODERS if isinstance(found := getattr(base, name, None), nn.Module)), None
    )
    if encoder is None:
        raise _refusal(model, f"{type(base).__name__} has no {' or '.join(_ENCODERS)} to hook")
    if not getattr(model, "_supports_attention_backend", False):
        raise _refusal(model, f"{type(model).__name__} does not use transformers' attention interface")
    return encoder


def _refusal(model: PreTrainedModel, why: str) -> TrialStoppedError:
    return TrialStoppedError(
        "failed",
        f"unpadded cannot serve {model.config.model_type}: {why}",
        hint="use padding: dynamic for it",
    )


@torch.no_grad()
def _probe(model: PreTrainedModel) -> torch.Tensor:
    """Logits of two short rows of different length, dropout off; the model's mode is put back."""
    training = model.training
    model.train(mode=False)
    ids = torch.arange(2 * 6, device=model.device).view(2, 6) % model.config.vocab_size
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2], device=model.device)
    try:
        logits: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise _refusal(model, str(error).splitlines()[0]) from error
    finally:
        model.train(training)
    return logits


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
    output.last_hidden_state = layout.pad(output.last_hidden_state.squeeze(0))
    return output


def flat_attention(
    kernel: Callable[..., tuple[torch.Tensor, torch.Tensor | None]],
    mask: Callable[[torch.Tensor, torch.dtype], torch.Tensor],
) -> Callable[..., tuple[torch.Tensor, None]]:
    """An attention function for flat rows, around the kernel of padded ones.

    q, k and v come as (1, heads, T, head size) and the result goes as (1, T, heads, head size).
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
        padded = [layout.pad(flat.squeeze(0).transpose(0, 1)).transpose(1, 2) for flat in (query, key, value)]
        out, _ = kernel(module, *padded, mask(layout.mask[:, None, None, :], query.dtype), **options)
        return layout.flatten(out).unsqueeze(0), None

    return attend


def _eager(
    module: nn.Module, *tensors: torch.Tensor, **options: Any
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The plain attention that stands beside the module's class in transformers."""
    plain = sys.modules[type(module).__module__].eager_attention_forward
    result: tuple[torch.Tensor, torch.Tensor | None] = plain(module, *tensors, **options)
    return result


def _boolean(mask: torch.Tensor, _dtype: torch.dtype) -> torch.Tensor:
    return mask


def additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What is added to scores: nothing where the mask is true, the lowest number elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


AttentionInterface.register(_INTERFACES["sdpa"], flat_attention(sdpa_attention_forward, _boolean))
AttentionInterface.register(_INTERFACES["eager"], flat_attention(_eager, additive))
for _name in _INTERFACES.values():
    AttentionMaskInterface.register(_name, keep_padding_mask)
