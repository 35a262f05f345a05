"""The masks that attention's dropout drew, whatever kernel drew them: found from its results.

With as few keys as a head has numbers, the weights that a kernel gave the values follow from its result:
result times the pseudo-inverse of the values. Over the softmax of the scores they are the mask. With the mask
known, the plain formula gives the expected result and gradients.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from harness.training.proofs.masks import Array

_NAMES: Final = (("key", "value"), ("k_lin", "v_lin"), ("k_proj", "v_proj"))
# Below such a weight, rounding in fp32 is no longer small relative to it.
_FAINTEST: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Attended:
    """One call of attention: the factors of its mask, and how far gradients are from the plain formula's.

    `factors` are (rows, heads, queries, keys), NaN beyond a row's end; `gradient_error` is relative, the
    largest of queries, keys and values.
    """

    site: str
    rate: float
    factors: Array
    gradient_error: float


@dataclass(slots=True)
class AttentionWatch:
    """Wraps a model's attention; `lengths` are the tokens of the rows of the batch under way.

    With `flat` hidden states come as one long row, (1, F, H), otherwise padded, (B, L, H).
    """

    flat: bool
    lengths: tuple[int, ...] = ()
    calls: list[Attended] = field(default_factory=list)
    _projected: dict[tuple[nn.Module, str], torch.Tensor] = field(default_factory=dict)

    @contextmanager
    def wrap(self, model: PreTrainedModel) -> Iterator[bool]:
        """Watch inside of the context; gives whether the model's attention can be watched."""
        name = model.config._attn_implementation  # noqa: SLF001 - transformers has no other way to ask
        sites = {module: site for site, module in model.named_modules() if _projections(module) is not None}
        if not getattr(model, "_supports_attention_backend", False) or not sites:
            yield False
            return
        inner: Callable[..., tuple[torch.Tensor, Any]] | None = ALL_ATTENTION_FUNCTIONS.get(name)

        def attend(module: nn.Module, *tensors: Any, **options: Any) -> tuple[torch.Tensor, Any]:
            _need_gradient(tensors[0])
            call = inner or sys.modules[type(module).__module__].eager_attention_forward
            out, weights = call(module, *tensors, **options)
            if torch.is_grad_enabled():
                self._look(sites[module], module, tensors[0], out, options)
            return out, weights

        def keep(module: nn.Module, part: str) -> Callable[..., None]:
            def hook(_projection: nn.Module, _args: Any, projected: torch.Tensor) -> None:
                _need_gradient(projected)
                self._projected[module, part] = projected

            return hook

        handles = []
        for module in sites:
            for part, projection in zip(("key", "value"), _projections(module) or (), strict=True):
                # Before others, which may hand on less than all rows.
                handles.append(projection.register_forward_hook(keep(module, part), prepend=True))
        AttentionInterface.register("harness_proof", attend)
        AttentionMaskInterface.register("harness_proof", ALL_MASK_ATTENTION_FUNCTIONS[name])
        model.set_attn_implementation("harness_proof")
        try:
            yield True
        finally:
            for handle in handles:
                handle.remove()
            model.set_attn_implementation(name)

    def _look(
        self, site: str, module: nn.Module, query: torch.Tensor, out: torch.Tensor, options: dict[str, Any]
    ) -> None:
        key, value = (self._projected[module, part] for part in ("key", "value"))
        scaling, rate = options.get("scaling") or query.shape[-1] ** -0.5, float(options.get("dropout", 0.0))
        generator = torch.Generator().manual_seed(len(self.calls))
        incoming = torch.randn(out.shape, generator=generator).to(out) * self._real(out)
        gradients = torch.autograd.grad(out, (query, key, value), incoming, retain_graph=True)
        tensors = [each.detach().double().cpu() for each in (query, key, value, out, incoming, *gradients)]
        rows = [self._row(at, *tensors) for at in range(len(self.lengths))]
        queries = max(row.query.shape[1] for row in rows)
        factors = np.full((len(rows), query.shape[1], queries, max(self.lengths)), np.nan)
        errors = []
        for at, row in enumerate(rows):
            found = row.factors(scaling)
            factors[at, :, : found.shape[1], : found.shape[2]] = found.numpy()
            errors.append(row.gradient_error(found, rate, scaling))
        self.calls.append(Attended(site, rate, factors, max(errors)))

    def _real(self, out: torch.Tensor) -> torch.Tensor:
        """1 at real tokens of a result (B, L, heads, d) or (1, F, heads, d), 0 at padding and filling."""
        width = out.shape[1]
        if self.flat:
            count = width if width == len(self.lengths) else sum(self.lengths)
            return (torch.arange(width) < count).view(1, -1, 1, 1).to(out)
        return (torch.arange(width) < torch.tensor(self.lengths)[:, None])[..., None, None].to(out)

    def _row(self, at: int, *tensors: torch.Tensor) -> _Row:
        query, key, value, out, incoming, of_query, of_key, of_value = tensors
        start, count = sum(self.lengths[:at]), self.lengths[at]

        def of_tokens(tensor: torch.Tensor) -> torch.Tensor:
            row = tensor[0, start : start + count] if self.flat else tensor[at, :count]
            return row.view(count, query.shape[1], -1).transpose(0, 1)

        def of_queries(tensor: torch.Tensor) -> torch.Tensor:
            """Of (_, heads, queries, d); one a row where a layer computes first rows alone."""
            if not self.flat:
                return tensor[at, :, : min(count, tensor.shape[2])]
            one_each = tensor.shape[2] == len(self.lengths)
            return tensor[0, :, at : at + 1] if one_each else tensor[0, :, start : start + count]

        return _Row(
            query=of_queries(query),
            key=of_tokens(key),
            value=of_tokens(value),
            out=of_queries(out.transpose(1, 2)),
            incoming=of_queries(incoming.transpose(1, 2)),
            gradients=(of_queries(of_query), of_tokens(of_key), of_tokens(of_value)),
        )


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a batch in fp64: queries (heads, Q, d), keys and values (heads, n, d), result as queries.

    `incoming` is the gradient given to the result, `gradients` are those found of queries, keys and values.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    out: torch.Tensor
    incoming: torch.Tensor
    gradients: tuple[torch.Tensor, torch.Tensor, torch.Tensor]

    def factors(self, scaling: float) -> torch.Tensor:
        """The mask's factors, (heads, Q, n); NaN where the softmax gave next to nothing."""
        weights = (self.query @ self.key.transpose(1, 2) * scaling).softmax(-1)
        factors = self.out @ torch.linalg.pinv(self.value) / weights
        return torch.where(weights < _FAINTEST, torch.nan, factors)

    def gradient_error(self, factors: torch.Tensor, rate: float, scaling: float) -> float:
        """The largest relative error of the gradients of queries, keys and values."""
        kept = (factors.nan_to_num(0.0).abs() > 0.5).double() / (1 - rate)
        leaves = [each.clone().requires_grad_() for each in (self.query, self.key, self.value)]
        weights = (leaves[0] @ leaves[1].transpose(1, 2) * scaling).softmax(-1)
        expected = torch.autograd.grad((weights * kept) @ leaves[2], leaves, self.incoming)
        norms = [max(float(each.norm()), 1e-3) for each in expected]
        return max(
            float((one - other).norm()) / norm
            for one, other, norm in zip(expected, self.gradients, norms, strict=True)
        )


def _need_gradient(projected: torch.Tensor) -> None:
    """Let a projection have a gradient where all weights before it are frozen."""
    if torch.is_grad_enabled() and not projected.requires_grad:
        projected.requires_grad_(True)


def _projections(module: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    children = dict(module.named_children())
    for key, value in _NAMES:
        if key in children and value in children:
            return children[key], children[value]
    return None
