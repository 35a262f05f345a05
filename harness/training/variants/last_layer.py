"""A last layer that computes the first row of each example alone, which is all that a classifier reads.

Its keys and values still come from every row; its queries, its feed-forward and what lies between do not.
That is exact, and saves most of a layer: an eighth of a six-layer model's products. Hooks do it, on any
encoder whose layers call the attention interface once:

1. A hook before the last layer hands on the first rows, so that its queries and its residual are theirs.
2. Hooks around its projections of keys and values give these all rows, and keep what they make of them.
3. The attention function uses these keys and values instead of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from harness.training.variants.encoders import Refuse, find_encoder, refusal, same_function
from harness.training.variants.unpadding import Layout, plain_attention

# Names under which transformers' attention modules keep the projections of keys and of values.
_KEYS_AND_VALUES: Final = (("key", "value"), ("k_lin", "v_lin"), ("k_proj", "v_proj"))


def compute_first_rows(model: PreTrainedModel) -> None:
    """Let the model's last layer compute first rows only, in place, whatever its padding and attention are.

    Raises:
        TrialStoppedError: `failed`, for a model that does not work this way; nothing is left half done, since
            the trial ends with it.
    """
    refuse = refusal(model, "last_layer: cls", "use last_layer: all for it")
    layer = _last_layer(model, refuse)
    attention, projections = _projections(layer, refuse)
    with same_function(model, refuse):
        rows = _Rows()
        layer.register_forward_pre_hook(rows.hand_on_first, with_kwargs=True)
        for projection in projections:
            projection.register_forward_pre_hook(rows.give_all)
            projection.register_forward_hook(rows.keep)
        _ROWS[attention] = rows
        _attend_to_kept(model)


def _last_layer(model: PreTrainedModel, refuse: Refuse) -> nn.Module:
    encoder = find_encoder(model, refuse)
    layers = next((part for part in encoder.children() if isinstance(part, nn.ModuleList)), None)
    if layers is None:
        raise refuse("its encoder has no list of layers")
    return layers[-1]


def _projections(layer: nn.Module, refuse: Refuse) -> tuple[nn.Module, tuple[nn.Module, nn.Module]]:
    """The module that calls the attention interface, and its projections of keys and of values."""
    for module in layer.modules():
        children = dict(module.named_children())
        for key, value in _KEYS_AND_VALUES:
            if key in children and value in children:
                return module, (children[key], children[value])
    raise refuse("no part of its last layer projects keys and values")


class _Rows:
    """All rows that the last layer was given, and the keys and values that it made of them, in this order."""

    def __init__(self) -> None:
        self._hidden = torch.empty(0)
        self._kept: list[torch.Tensor] = []

    def hand_on_first(
        self, _layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Of (B, L, H) the rows (B, 1, H); of unpadded (1, F, H) the rows (1, B, H)."""
        self._hidden, self._kept = args[0], []
        layout = next((each for each in (*args, *kwargs.values()) if isinstance(each, Layout)), None)
        first = self._hidden[:, :1] if layout is None else self._hidden[:, layout.firsts]
        return (first, *args[1:]), kwargs

    def give_all(self, _projection: nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        """All rows to a projection, which was handed the first ones."""
        self._handed_on = args[0].shape[1]
        return (self._hidden,)

    def keep(self, _projection: nn.Module, _args: tuple[Any, ...], projected: torch.Tensor) -> torch.Tensor:
        """Keep a projection of all rows, and return as many as were handed on: their shape is looked at."""
        self._kept.append(projected)
        return projected[:, : self._handed_on]

    def take(self, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Keys and values of all rows, split into heads as `like`, (_, heads, _, head size)."""
        kept, self._kept, self._hidden = self._kept, [], torch.empty(0)
        return tuple(each.unflatten(-1, (like.shape[1], like.shape[3])).transpose(1, 2) for each in kept)  # type: ignore[no-untyped-call] # torch leaves it so


# By the module that calls the attention interface in a last layer: attention functions are every model's.
_ROWS: Final[WeakKeyDictionary[nn.Module, _Rows]] = WeakKeyDictionary()


def _attend_to_kept(model: PreTrainedModel) -> None:
    """Put an attention function around the model's own that differs in such last layers."""
    name = model.config._attn_implementation  # noqa: SLF001 - transformers has no other way to ask
    inner: Callable[..., tuple[torch.Tensor, Any]] = ALL_ATTENTION_FUNCTIONS.get(name, plain_attention)

    def attend(
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: Any,
        **options: Any,
    ) -> tuple[torch.Tensor, Any]:
        if rows := _ROWS.get(module):
            key, value = rows.take(key)
            # Every query of a mask (B, 1, L, L) looks at the same tokens.
            if isinstance(attention_mask, torch.Tensor):
                attention_mask = attention_mask[:, :, :1]
        return inner(module, query, key, value, attention_mask, **options)

    AttentionInterface.register(f"{name}_first_rows", attend)
    AttentionMaskInterface.register(f"{name}_first_rows", ALL_MASK_ATTENTION_FUNCTIONS[name])
    model.set_attn_implementation(f"{name}_first_rows")
