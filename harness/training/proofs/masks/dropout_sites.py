"""Every dropout of a model while an engine trains it: modules by hooks, attention from its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from harness.training.proofs.masks.attention_masks import AttentionWatch, recomputing
from harness.training.proofs.masks.drawn_masks import Mask


@dataclass(slots=True)
class Dropped:
    """What dropout did in a training.

    `masks` are all that were drawn, by site in the order of passes; `gradient_errors` are relative, and empty
    if `compiled`. `changed_in_evaluation` names sites that changed their input while gradients were off.
    """

    masks: dict[str, list[Mask]] = field(default_factory=dict)
    gradient_errors: dict[str, float] = field(default_factory=dict)
    changed_in_evaluation: set[str] = field(default_factory=set)
    watches_attention: bool = False
    compiled: bool = False

    def add(self, mask: Mask, gradient_error: float | None) -> None:
        """Add a mask and the error of the gradient that passed it."""
        self.masks.setdefault(mask.site, []).append(mask)
        if gradient_error is not None:
            self.gradient_errors[mask.site] = max(self.gradient_errors.get(mask.site, 0.0), gradient_error)


def rates_of(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor]
) -> tuple[dict[str, float], dict[str, float]]:
    """The rate of every dropout that the library's own model passes in training, by name of its module.

    Those of dropout modules, and those of attention, whose dropout has no module that is called.
    """
    modules: dict[str, float] = {}
    attention = AttentionWatch(flat=False)
    attention.begin(tuple(inputs["attention_mask"].sum(dim=1).tolist()))

    def note(name: str, module: nn.Dropout) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            modules[name] = module.p

        return hook

    handles = [
        module.register_forward_hook(note(name, module))
        for name, module in model.named_modules()
        if isinstance(module, nn.Dropout) and module.p
    ]
    with attention.wrap(model):
        model(**inputs)
    for handle in handles:
        handle.remove()
    return modules, {call.site: call.rate for call in attention.calls() if call.rate}


@contextmanager
def watch_dropout(
    model: PreTrainedModel, sites: dict[str, float], *, flat: bool, compiled: bool
) -> Iterator[Dropped]:
    """Collect every mask of these sites and of attention inside of the context.

    Hooks inside of the model only keep tensors, so that a compiler can trace them.
    """
    dropped, attention = Dropped(compiled=compiled), AttentionWatch(flat, compiled)
    place = _Place()
    kept: list[tuple[str, torch.Tensor, torch.Tensor]] = []
    modules = dict(model.named_modules())

    def begin(_model: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        attention.begin(tuple(kwargs["attention_mask"].sum(dim=1).tolist()))
        kept.clear()
        place.begin(trains=torch.is_grad_enabled())

    def end(*_: Any) -> None:
        if not torch.is_grad_enabled():
            dropped.changed_in_evaluation.update(
                name for name, given, result in kept if not torch.equal(given, result)
            )
            return
        for name, given, result in kept:
            error = None if compiled else _gradient_error(given, result)
            dropped.add(Mask(name, place.epoch, place.batch, _factors(given, result)), error)
        for call in attention.calls():
            dropped.add(Mask(call.site, place.epoch, place.batch, call.factors), call.gradient_error)

    with ExitStack() as stack:
        dropped.watches_attention = stack.enter_context(attention.wrap(model))
        handles = [
            model.register_forward_pre_hook(begin, with_kwargs=True),
            model.register_forward_hook(end),
            *(
                modules[name].register_forward_hook(_keep(name, kept, compiled=compiled))
                for name in sites
                if name in modules
            ),
        ]
        for handle in handles:
            stack.callback(handle.remove)
        yield dropped


def _keep(
    name: str, kept: list[tuple[str, torch.Tensor, torch.Tensor]], *, compiled: bool
) -> Callable[..., None]:
    """Return a hook that keeps the input and the result of a dropout module."""

    def hook(_module: nn.Module, args: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
        if compiled:
            kept.append((name, args[0].detach(), result.detach()))
        # The gradient through the first mask shows whether a recomputed one equals it.
        elif not recomputing():
            kept.append((name, args[0], result))

    return hook


@dataclass(slots=True)
class _Place:
    """Where a training is: a pass with gradients after one without begins an epoch."""

    epoch: int = 0
    batch: int = 0
    _trains: bool = False

    def begin(self, *, trains: bool) -> None:
        """A pass begins."""
        if trains and not self._trains:
            self.epoch, self.batch = self.epoch + 1, 0
        elif trains:
            self.batch += 1
        self._trains = trains


def _factors(given: torch.Tensor, result: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    factors = result.detach().double() / given.detach().double()
    factors[given.detach() == 0] = torch.nan
    found: np.ndarray[Any, np.dtype[np.float64]] = factors.cpu().numpy()
    return found


def _gradient_error(given: torch.Tensor, result: torch.Tensor) -> float:
    """How far the gradient of a module's input is from one through the same mask, relative.

    Zero where the input has no gradient, as in front of the first weight that trains.
    """
    if not given.requires_grad:
        return 0.0
    generator = torch.Generator().manual_seed(0)
    incoming = torch.randn(result.shape, generator=generator).to(result)
    (found,) = torch.autograd.grad(result, given, incoming, retain_graph=True)
    known = given.detach() != 0
    expected = incoming * result.detach() / given.detach()
    return float((found - expected)[known].norm() / expected[known].norm().clamp_min(1e-6))
