"""LoRA written out: the reference that adapters are compared with, without a line of peft or of the variant.

A frozen layer W x + b becomes W x + b + (alpha / r) B A dropout(x), A of shape (r, in) drawn uniformly within
1 / sqrt(in), as torch draws a linear layer, and B of shape (out, r) zero (arXiv:2106.09685, section 4.1).
Modules have the names that peft gives them, so that parameters and sites of dropout can be compared by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

import torch
from torch import nn
from transformers import PreTrainedModel

from harness.model.proof import TrainingCheck
from harness.model.values import Adapter
from harness.training.proofs.findings import none_of
from harness.training.proofs.reference import Tensors

_DEFAULTS: Final = frozenset({"query", "value", "q_lin", "v_lin", "q_proj", "v_proj", "q", "v"})


class LowRank(nn.Module):
    """A frozen linear layer with its adapter."""

    def __init__(self, base: nn.Linear, adapter: Adapter) -> None:
        super().__init__()
        self.scale = adapter.alpha / adapter.r
        self.base_layer = base
        thin = (
            nn.Linear(base.in_features, adapter.r, bias=False),
            nn.Linear(adapter.r, base.out_features, bias=False),
        )
        nn.init.zeros_(thin[1].weight)
        self.lora_dropout = nn.ModuleDict({"default": nn.Dropout(adapter.dropout)})
        self.lora_A, self.lora_B = (nn.ModuleDict({"default": each}) for each in thin)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Return rows of shape (..., out) for rows of shape (..., in)."""
        low: torch.Tensor = self.lora_A["default"](self.lora_dropout["default"](given))
        added: torch.Tensor = self.lora_B["default"](low) * self.scale
        plain: torch.Tensor = self.base_layer(given)
        return plain + added


def adapt_reference(
    model: PreTrainedModel, adapter: Adapter, drawn: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Freeze all but the head of the library's classifier in place, and add adapters.

    Args:
        model: whose head is outside of its base model.
        adapter: of kind `lora`, or `none`, which changes nothing.
        drawn: parameters by name, from which A is taken: another order of draws is no other adapter.
    """
    if adapter.kind == "none":
        return
    base = model.base_model_prefix
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(f"{base}."))
    for name in targets_of(model, adapter):
        parent, _, last = name.rpartition(".")
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        setattr(model.get_submodule(parent), last, LowRank(layer, adapter).train(model.training))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if drawn is not None and ".lora_A." in name and name in drawn:
                parameter.copy_(drawn[name])


def targets_of(model: PreTrainedModel, adapter: Adapter) -> tuple[str, ...]:
    """Return the names of the linear layers of the base model that an adapter is for."""
    return tuple(
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and name.startswith(f"{model.base_model_prefix}.")
        and (
            name.rpartition(".")[2] in _DEFAULTS
            if adapter.targets is None
            else any(f".{name}".endswith(f".{target}") for target in adapter.targets)
        )
    )


def adapted_gradients(
    model: PreTrainedModel, adapter: Adapter, plain: Tensors, drawn: Mapping[str, torch.Tensor]
) -> Tensors:
    """Return the gradients of an adapted model whose B is zero, from those of the plain model.

    The gradient of B is alpha / r times that of W times the transpose of A, and that of A is zero.

    Args:
        model: the plain model.
        adapter: of kind `lora`.
        plain: the gradient of each parameter of the plain model.
        drawn: the parameters of the adapted model, for A.
    """
    targets, inside = targets_of(model, adapter), f"{model.base_model_prefix}."
    found: Tensors = {}
    for name, gradient in plain.items():
        layer, _, part = name.rpartition(".")
        if layer not in targets:
            found[name] = torch.zeros_like(gradient) if name.startswith(inside) else gradient
            continue
        found[f"{layer}.base_layer.{part}"] = torch.zeros_like(gradient)
        if part == "weight":
            thin = drawn.get(
                f"{layer}.lora_A.default.weight", gradient.new_zeros(adapter.r, gradient.shape[1])
            )
            found[f"{layer}.lora_A.default.weight"] = torch.zeros_like(thin)
            found[f"{layer}.lora_B.default.weight"] = adapter.alpha / adapter.r * gradient @ thin.T
    return found


def check_adapters(name: str, reference: PreTrainedModel, start: Tensors, end: Tensors) -> TrainingCheck:
    """Check that adapters are drawn as they should, that all of them and the head train, and nothing more.

    Args:
        name: of the check.
        reference: the adapted reference, whose parameters with gradients are those due.
        start: the engine's parameters before the training.
        end: those after it.
    """
    names = dict(reference.named_parameters())
    trained = [name for name, each in names.items() if each.requires_grad]
    adapters = sum("lora_" in name for name in trained)
    return none_of(
        name,
        [*_drawn_wrong(start), *_moved_wrong(names, start, end)],
        f"{adapters} factors and {len(trained) - adapters} tensors of the head train; the other "
        f"{len(names) - len(trained)} tensors keep every bit",
    )


def _drawn_wrong(start: Tensors) -> Iterator[str]:
    seen: list[torch.Tensor] = []
    for name, each in start.items():
        if ".lora_B." in name and bool(each.any()):
            yield f"{name} is not zero at the start"
        if ".lora_A." in name:
            limit = 1 / math.sqrt(each.shape[1])
            # Uniform within the limit: the mean square of so many draws is limit^2 / 3 within seven errors.
            error = abs(float(each.square().mean()) / (limit**2 / 3) - 1)
            if float(each.abs().max()) > limit * (1 + 1e-6) or error > 7 * math.sqrt(0.8 / each.numel()):
                yield f"{name} is not drawn uniformly within {limit:.3g}"
            if any(torch.equal(each, other) for other in seen):
                yield f"{name} equals another adapter's"
            seen.append(each)


def _moved_wrong(names: Mapping[str, nn.Parameter], start: Tensors, end: Tensors) -> Iterator[str]:
    for name, parameter in names.items():
        if name not in start or name not in end:
            yield f"there is no {name}"
        elif torch.equal(start[name], end[name]) is parameter.requires_grad:
            yield f"{name} {'does not train' if parameter.requires_grad else 'changed, and is frozen'}"
    for name in start.keys() - names.keys():
        yield f"{name} has no place in the reference"
