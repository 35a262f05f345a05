"""Linear layers on CUDA that compute in bf16 or fp16 from one copy of all parameters.

At batch 8 a step of BERT on a GPU is bound by the number of its kernels. Under autocast each linear layer has
six that only convert: weight and bias to half precision, their gradients back, and two additions to gradients
that were zeroed. Here one kernel converts all parameters after an optimizer step, each product writes its
gradient into a vector in half precision, and one kernel adds that vector to the gradients in fp32.
Parameters, gradients and the optimizer stay in fp32.

Two more savings:

- Layers of one input whose weights lie next to each other, such as those of query, key and value, are one
  product. Which these are shows in the first pass.
- In a captured graph the gradients of weights and biases, which nothing else in the pass waits for, are
  computed on a second stream, next to the gradients of inputs: at batch 8 neither fills the device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

from harness.model.trial import Trial
from harness.model.values import Precision

_DTYPES: Final[dict[Precision, torch.dtype]] = {"bf16": torch.bfloat16, "fp16": torch.float16}

Pair = tuple[torch.Tensor, torch.Tensor | None]
"""Of a weight (out, in) and of a bias (out,), where there is one."""


def use_half_layers(trial: Trial, model: nn.Module) -> None:
    """Let the linear layers of a model, in place, compute from half copies once they have some."""
    if trial.precision in _DTYPES:
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = HalfLinear


class HalfLinear(nn.Linear):
    """A linear layer that computes from `HalfCopies` under autocast, which then get its gradients."""

    copies: HalfCopies | None = None
    values: Pair
    called = passed_back = False

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - as torch names it
        """(..., in) to (..., out)."""
        # A second call in one pass would round the sum of both gradients.
        if self.copies is None or self.called or not torch.is_autocast_enabled(input.device.type):
            return super().forward(input)
        if not torch.is_grad_enabled():
            return functional.linear(input.to(self.values[0].dtype), *self.values)
        result = self.copies.product(self, input)
        if result is None:
            return super().forward(input)
        self.called = True
        return result


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Layers that are one product: views of their copies, values and the gradients of one backward pass."""

    layers: tuple[HalfLinear, ...]
    values: Pair
    gradients: Pair
    copies: HalfCopies


class _Product(torch.autograd.Function):
    """x W' + b, which writes the gradients of W and b into the copies."""

    @staticmethod
    def forward(ctx: Any, given: torch.Tensor, group: _Group, *_weights: torch.Tensor) -> Any:
        """`given` is (..., in) in half precision; weights are there for autograd, which asks who trains."""
        ctx.group = group
        ctx.save_for_backward(given)
        product = functional.linear(given, *group.values)
        return torch.split(product, [each.out_features for each in group.layers], dim=-1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradient of the input."""
        group: _Group = ctx.group
        (given,) = ctx.saved_tensors
        parts = [each.flatten(0, -2) for each in gradients]
        rows = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        inputs = given.flatten(0, -2)
        of_weight, of_bias = group.gradients
        with group.copies.aside(rows, inputs):
            torch.mm(rows.t(), inputs, out=of_weight)
            if of_bias is not None:
                torch.sum(rows, 0, out=of_bias)
        for layer in group.layers:
            layer.passed_back = True
        of_input = rows.mm(group.values[0]).view_as(given) if ctx.needs_input_grad[0] else None
        return of_input, None, *(None for _ in group.layers)


class HalfCopies:
    """Copies in half precision of the parameters in flat vectors, and the gradients of one backward pass.

    Args:
        model: its `HalfLinear` layers compute from the copies until `detach`, if both their parameters lie in
            the vectors and belong to no other module.
        flat: vectors of parameters in fp32, with their gradients.
        precision: of the copies.
    """

    def __init__(self, model: nn.Module, flat: Sequence[nn.Parameter], precision: Precision) -> None:
        self._flat = flat
        self._values = [torch.empty_like(each, dtype=_DTYPES[precision]) for each in flat]
        self._gradients = [torch.zeros_like(each) for each in self._values]
        self._layers = _layers_in(model, flat)
        self._groups = {layer: self._group([layer]) for layer in self._layers}
        for layer, group in self._groups.items():
            layer.copies, layer.values = self, group.values
        # Of the first pass, until its backward pass has ended.
        self._calls: list[tuple[HalfLinear, torch.Tensor]] | None = []
        # Results of the latest product for layers that are yet to be called with its input.
        self._input: torch.Tensor | None = None
        self._ready: dict[HalfLinear, torch.Tensor] = {}
        self._aside: torch.cuda.Stream | None = None
        self._read_aside: list[torch.Tensor] = []
        self.refresh()

    def _group(self, layers: Sequence[HalfLinear]) -> _Group:
        weights = [each.weight for each in layers]
        # torch's types do not tell that a layer may have no bias.
        biases: list[torch.Tensor | None] = [each.bias for each in layers]
        known = [each for each in biases if each is not None]

        def pair(copies: Sequence[torch.Tensor]) -> Pair:
            of_weight = self._view(copies, weights).view(-1, weights[0].shape[1])
            return of_weight, self._view(copies, known) if known else None

        return _Group(tuple(layers), pair(self._values), pair(self._gradients), self)

    def _view(self, copies: Sequence[torch.Tensor], adjacent: Sequence[torch.Tensor]) -> torch.Tensor:
        """The part of the copies that belongs to parameters which lie next to each other."""
        copy = copies[_place(adjacent[0], self._flat)]
        return copy[adjacent[0].storage_offset() :][: sum(each.numel() for each in adjacent)]

    def product(self, layer: HalfLinear, given: torch.Tensor) -> torch.Tensor | None:
        """The layer's result for an input (..., in); None for a call that is not as in the first pass."""
        if layer in self._ready:
            result = self._ready.pop(layer)
            return result if given is self._input else None
        if layer not in self._groups:
            return None
        if self._calls is not None:
            self._calls.append((layer, given))
        group = self._groups[layer]
        half = given.to(group.values[0].dtype)
        results: tuple[torch.Tensor, ...] = _Product.apply(
            half, group, *(each.weight for each in group.layers)
        )  # type: ignore[no-untyped-call] # torch leaves it so
        self._input, self._ready = given, dict(zip(group.layers[1:], results[1:], strict=True))
        return results[0]

    @contextmanager
    def overlapping(self) -> Iterator[None]:
        """Compute gradients of weights and biases on a second stream in passes inside of the context."""
        device = self._flat[0].device
        if device.type == "cuda":
            self._aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call] # torch leaves it so
        try:
            yield
        finally:
            self._aside = None

    @contextmanager
    def aside(self, *read: torch.Tensor) -> Iterator[None]:
        """Run what is inside on the second stream, if there is one; `read` are tensors that it reads."""
        if self._aside is None:
            yield
            return
        # Kept until the streams have met, so that no other tensor takes their memory before.
        self._read_aside += read
        self._aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._aside):
            yield

    def refresh(self) -> None:
        """Copy the parameters, after an optimizer step."""
        for copy, flat in zip(self._values, self._flat, strict=True):
            copy.copy_(flat.detach())

    def collect(self) -> None:
        """Add the gradients of a backward pass to those of the vectors."""
        if self._aside is not None:
            torch.cuda.current_stream().wait_stream(self._aside)
            self._read_aside.clear()
        for group in self._groups.values():
            if not group.layers[0].passed_back:
                for stale in group.gradients:
                    if stale is not None:
                        stale.zero_()
        for layer in self._layers:
            layer.called = layer.passed_back = False
        for gradient, flat in zip(self._gradients, self._flat, strict=True):
            assert flat.grad is not None
            flat.grad.add_(gradient)
        self._input, self._ready = None, {}
        if self._calls is not None:
            self._merge(self._calls)
            self._calls = None

    def _merge(self, calls: Sequence[tuple[HalfLinear, torch.Tensor]]) -> None:
        """Make groups of consecutive calls with the same input."""
        for _, same in groupby(calls, key=lambda call: id(call[1])):
            layers = [layer for layer, _ in same]
            if all(_adjacent(one, other) for one, other in pairwise(layers)):
                for each in layers[1:]:
                    del self._groups[each]
                self._groups[layers[0]] = self._group(layers)

    def detach(self) -> None:
        """Let the layers compute from their own parameters again."""
        for layer in self._layers:
            layer.copies = None


def half_copies(model: nn.Module, flat: Sequence[nn.Parameter], precision: Precision) -> HalfCopies | None:
    """Return the copies that the model's layers compute from; None in fp32, and without such layers."""
    if precision not in _DTYPES or not any(isinstance(module, HalfLinear) for module in model.modules()):
        return None
    return HalfCopies(model, flat, precision)


def _layers_in(model: nn.Module, flat: Sequence[nn.Parameter]) -> list[HalfLinear]:
    """The layers whose parameters all train, lie in the vectors, and are no other module's."""
    users = Counter(each for module in model.modules() for each in module.parameters(recurse=False))
    return [
        module
        for module in model.modules()
        if isinstance(module, HalfLinear)
        and all(
            each.requires_grad and users[each] == 1 and _place(each, flat) >= 0
            for each in module.parameters(recurse=False)
        )
    ]


def _adjacent(one: HalfLinear, other: HalfLinear) -> bool:
    """Whether weight and bias of one layer are followed in their vectors by those of the other."""
    mine, others = list(one.parameters()), list(other.parameters())
    return len(mine) == len(others) and all(
        left.untyped_storage().data_ptr() == right.untyped_storage().data_ptr()
        and left.storage_offset() + left.numel() == right.storage_offset()
        for left, right in zip(mine, others, strict=True)
    )


def _place(parameter: torch.Tensor, flat: Sequence[nn.Parameter]) -> int:
    """The index of the vector that has the parameter, or -1."""
    storage = parameter.untyped_storage().data_ptr()
    places = (at for at, each in enumerate(flat) if each.untyped_storage().data_ptr() == storage)
    return next(places, -1)
