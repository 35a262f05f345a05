"""Linear layers on CUDA that compute in bf16 or fp16 from one copy of all parameters.

At batch 8 a step of BERT on a GPU is bound by the number of its kernels. Under autocast each linear layer has
six that only convert: weight and bias to half precision, their gradients back, and two additions to gradients
that were zeroed. Here one kernel converts all parameters after an optimizer step, each product writes its
gradient into a vector in half precision, and one kernel adds that vector to the gradients in fp32. Products
are autocast's own, and parameters, gradients and the optimizer stay in fp32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

from harness.model.trial import Trial
from harness.model.values import Precision

_DTYPES: Final[dict[Precision, torch.dtype]] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def use_half_layers(trial: Trial, model: nn.Module) -> None:
    """Let the linear layers of a model, in place, compute from half copies once they have some."""
    if trial.precision in _DTYPES:
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = HalfLinear


class HalfLinear(nn.Linear):
    """A linear layer that computes from `HalfCopies` under autocast, which then get its gradients."""

    copies: HalfCopies | None = None
    # Of the weight and the bias, views of the copies: values, then gradients of one backward pass.
    values: tuple[torch.Tensor, torch.Tensor | None]
    gradients: tuple[torch.Tensor, torch.Tensor | None]
    called = passed_back = False

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - as torch names it
        """(..., in) to (..., out)."""
        # A second call in one pass would round the sum of both gradients.
        if self.copies is None or self.called or not torch.is_autocast_enabled(input.device.type):
            return super().forward(input)
        given = input.to(self.values[0].dtype)
        if not torch.is_grad_enabled():
            return functional.linear(given, *self.values)
        self.called = True
        result: torch.Tensor = _Product.apply(given, self.weight, self)  # type: ignore[no-untyped-call] # torch leaves it so
        return result


class _Product(torch.autograd.Function):
    """x W' + b, which writes the gradients of W and b into the layer's copies."""

    @staticmethod
    def forward(ctx: Any, given: torch.Tensor, _weight: torch.Tensor, layer: HalfLinear) -> torch.Tensor:
        """`given` is (..., in) in half precision; the weight is there for autograd, which asks who trains."""
        ctx.layer = layer
        ctx.save_for_backward(given)
        return functional.linear(given, *layer.values)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, None, None]:
        """The gradient of the input."""
        layer: HalfLinear = ctx.layer
        (given,) = ctx.saved_tensors
        rows = gradients[0].flatten(0, -2)
        of_weight, of_bias = layer.gradients
        torch.mm(rows.t(), given.flatten(0, -2), out=of_weight)
        if of_bias is not None:
            torch.sum(rows, 0, out=of_bias)
        layer.passed_back = True
        of_input = rows.mm(layer.values[0]).view_as(given) if ctx.needs_input_grad[0] else None
        return of_input, None, None


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
        for layer in self._layers:
            layer.copies = self
            layer.values = self._views(layer, self._values)
            layer.gradients = self._views(layer, self._gradients)
        self.refresh()

    def _views(
        self, layer: HalfLinear, copies: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        def view(parameter: torch.Tensor) -> torch.Tensor:
            copy = copies[_place(parameter, self._flat)]
            return copy[parameter.storage_offset() :][: parameter.numel()].view_as(parameter)

        # torch's types do not tell that a layer may have no bias.
        bias: torch.Tensor | None = layer.bias
        return view(layer.weight), None if bias is None else view(bias)

    def refresh(self) -> None:
        """Copy the parameters, after an optimizer step."""
        for copy, flat in zip(self._values, self._flat, strict=True):
            copy.copy_(flat.detach())

    def collect(self) -> None:
        """Add the gradients of a backward pass to those of the vectors."""
        for layer in self._layers:
            if not layer.passed_back:
                for stale in layer.gradients:
                    if stale is not None:
                        stale.zero_()
            layer.called = layer.passed_back = False
        for gradient, flat in zip(self._gradients, self._flat, strict=True):
            assert flat.grad is not None
            flat.grad.add_(gradient)

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


def _place(parameter: torch.Tensor, flat: Sequence[nn.Parameter]) -> int:
    """The index of the vector that has the parameter, or -1."""
    storage = parameter.untyped_storage().data_ptr()
    places = (at for at, each in enumerate(flat) if each.untyped_storage().data_ptr() == storage)
    return next(places, -1)
