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

from harness.training.proofs.masks.drawn_masks import Array
from harness.training.proofs.watching import hook_first

_NAMES: Final = (("key", "value"), ("k_lin", "v_lin"), ("k_proj", "v_proj"))
# Below such a weight, rounding in fp32 is no longer small relative to it.
_FAINTEST: Final = 1e-4


def recomputing() -> bool:
    """Whether a backward pass is under way, which calls modules under gradient checkpointing alone."""
    return bool(torch._C._current_graph_task_id() != -1)  # noqa: SLF001 - as torch.utils.checkpoint asks


@dataclass(frozen=True, slots=True)
class Attended:
    """One call of attention: the factors of its mask, and how far gradients are from the plain formula's.

    `factors` are (rows, heads, queries, keys), NaN beyond a row's end; `gradient_error` is relative, the
    largest of queries, keys and values; None in a compiled graph, whose inner gradients are not kept.
    """

    site: str
    rate: float
    factors: Array
    gradient_error: float | None


@dataclass(frozen=True, slots=True)
class _Call:
    """The tensors of one call of attention, with keys and values of all rows."""

    site: str
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    out: torch.Tensor
    scaling: float | None
    rate: float


@dataclass(slots=True)
class AttentionWatch:
    """Wraps a model's attention; `lengths` are the tokens of the rows of the batch under way.

    With `flat` hidden states come as one long row, (1, F, H), otherwise padded, (B, L, H). A compiled graph
    traces what runs inside of it: there tensors are kept without their gradients, and read after the pass.
    """

    flat: bool
    compiled: bool = False
    lengths: tuple[int, ...] = ()
    _calls: list[_Call] = field(default_factory=list)
    _projected: dict[str, torch.Tensor] = field(default_factory=dict)

    @contextmanager
    def wrap(self, model: PreTrainedModel) -> Iterator[bool]:
        """Watch inside of the context; gives whether the model's attention can be watched."""
        name = model.config._attn_implementation  # noqa: SLF001 - transformers has no other way to ask
        sites = {module: site for site, module in model.named_modules() if _projections(module) is not None}
        if not getattr(model, "_supports_attention_backend", False) or not sites:
            yield False
            return
        handles = []
        for module, site in sites.items():
            for part, projection in zip(("key", "value"), _projections(module) or (), strict=True):
                handles.append(hook_first(projection, self._keep(f"{site} {part}")))
        AttentionInterface.register("harness_proof", self._attention(name, sites))
        AttentionMaskInterface.register("harness_proof", ALL_MASK_ATTENTION_FUNCTIONS[name])
        model.set_attn_implementation("harness_proof")
        try:
            yield True
        finally:
            for handle in handles:
                handle.remove()
            model.set_attn_implementation(name)

    def _attention(self, name: str, sites: dict[nn.Module, str]) -> Callable[..., tuple[torch.Tensor, Any]]:
        """Return the named attention, which also keeps the tensors of each call."""
        inner: Callable[..., tuple[torch.Tensor, Any]] | None = ALL_ATTENTION_FUNCTIONS.get(name)

        def attend(module: nn.Module, *tensors: Any, **options: Any) -> tuple[torch.Tensor, Any]:
            if not self.compiled:
                _need_gradient(tensors[0])
            call = inner or sys.modules[type(module).__module__].eager_attention_forward
            out, weights = call(module, *tensors, **options)
            if not self.compiled and recomputing():
                return out, weights
            site = sites[module]
            parts = (tensors[0], self._projected[f"{site} key"], self._projected[f"{site} value"], out)
            query, key, value, out_kept = (each.detach() if self.compiled else each for each in parts)
            self._calls.append(
                _Call(
                    site,
                    query,
                    key,
                    value,
                    out_kept,
                    scaling=options.get("scaling"),
                    rate=options.get("dropout", 0.0),
                )
            )
            return out, weights

        return attend

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(_projection: nn.Module, _args: Any, projected: torch.Tensor) -> None:
            if not self.compiled:
                _need_gradient(projected)
            if self.compiled or not recomputing():
                self._projected[name] = projected

        return hook

    def begin(self, lengths: tuple[int, ...]) -> None:
        """Begin a pass over rows of these lengths."""
        self.lengths = lengths
        self._calls.clear()

    def calls(self) -> list[Attended]:
        """Return the calls of the pass that has ended, which ran with gradients."""
        return [self._look(at, call) for at, call in enumerate(self._calls)]

    def _look(self, at: int, call: _Call) -> Attended:
        query, out = call.query, call.out
        scaling = call.scaling or query.shape[-1] ** -0.5
        tensors = [query, call.key, call.value, out]
        if not self.compiled:
            generator = torch.Generator().manual_seed(at)
            incoming = torch.randn(out.shape, generator=generator).to(out) * self._real(out)
            inputs = (query, call.key, call.value)
            tensors += [incoming, *torch.autograd.grad(out, inputs, incoming, retain_graph=True)]
        tensors = [each.detach().double().cpu() for each in tensors]
        rows = [self._row(row, *tensors) for row in range(len(self.lengths))]
        queries = max(row.query.shape[1] for row in rows)
        factors = np.full((len(rows), query.shape[1], queries, max(self.lengths)), np.nan)
        errors: list[float | None] = []
        for row, found in ((each, each.factors(scaling)) for each in rows):
            factors[len(errors), :, : found.shape[1], : found.shape[2]] = found.numpy()
            errors.append(row.gradient_error(found, call.rate, scaling))
        error = None if self.compiled else max(each for each in errors if each is not None)
        return Attended(call.site, float(call.rate), factors, error)

    def _real(self, out: torch.Tensor) -> torch.Tensor:
        """1 at real tokens of a result (B, L, heads, d) or (1, F, heads, d), 0 at padding and filling."""
        width = out.shape[1]
        if self.flat:
            count = width if width == len(self.lengths) else sum(self.lengths)
            return (torch.arange(width) < count).view(1, -1, 1, 1).to(out)
        return (torch.arange(width) < torch.tensor(self.lengths)[:, None])[..., None, None].to(out)

    def _row(self, at: int, *tensors: torch.Tensor) -> _Row:
        query, key, value, out, *gradients = tensors
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
            incoming=of_queries(gradients[0].transpose(1, 2)) if gradients else None,
            gradients=(of_queries(gradients[1]), *map(of_tokens, gradients[2:])) if gradients else (),
        )


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a batch in fp64: queries (heads, Q, d), keys and values (heads, n, d), result as queries.

    `incoming` is the gradient given to the result, `gradients` are those found of queries, keys and values;
    None and empty in a compiled graph.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    out: torch.Tensor
    incoming: torch.Tensor | None
    gradients: tuple[torch.Tensor, ...]

    def factors(self, scaling: float) -> torch.Tensor:
        """The mask's factors, (heads, Q, n); NaN where the softmax gave next to nothing."""
        weights = (self.query @ self.key.transpose(1, 2) * scaling).softmax(-1)
        factors = self.out @ torch.linalg.pinv(self.value) / weights
        return torch.where(weights < _FAINTEST, torch.nan, factors)

    def gradient_error(self, factors: torch.Tensor, rate: float, scaling: float) -> float | None:
        """The largest relative error of the gradients of queries, keys and values; None without gradients."""
        if self.incoming is None:
            return None
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
