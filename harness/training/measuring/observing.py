"""What a training does, observed at next to no cost: hooks that fire once, and samples before and after."""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from harness.model.observations import Observed
from harness.training.measuring.dropout_counts import DropoutCounts, dropped_share
from harness.training.resuming import State

_SAMPLE: Final = 4_096


class TrainingWatch:
    """Watches a training of `model` from `begin` until `end`; `new_epoch` is called before each later epoch.

    Inside of the timed windows it notes a number at each optimizer step and counts, in the first forward pass
    alone, the elements that are dropped: less than a thousandth of that pass. Without `counts_dropout` it
    puts no hook inside of the model.
    """

    def __init__(self, model: nn.Module, *, counts_dropout: bool = True) -> None:
        self._model, self._counts_dropout = model, counts_dropout
        self._steps = 0
        self._rates: list[Any] = []
        self._sum_of_rates: Any = 0.0
        self._dropout = DropoutCounts(model)
        self._modes: list[bool] = []
        self._awaited: RemovableHandle | None = None
        self._handles: list[RemovableHandle] = []
        self._before: dict[str, torch.Tensor] = {}
        self._frozen: frozenset[str] = frozenset()

    def begin(self) -> None:
        """Sample the parameters and register the hooks."""
        self._before = _sample(self._model)
        self._frozen = frozenset(name for name, each in _tensors(self._model) if not each.requires_grad)
        self._handles.append(register_optimizer_step_pre_hook(self._step))
        if self._counts_dropout:
            self._dropout.count_next_pass()
        self.new_epoch()

    def new_epoch(self) -> None:
        """Note the mode at the next forward pass, or at the next step where graphs replay the passes."""
        self._awaited = self._model.register_forward_pre_hook(self._note_mode)
        self._handles.append(self._awaited)

    def _note_mode(self, *_: Any) -> None:
        if self._awaited is not None:
            self._awaited.remove()
            self._awaited = None
            self._modes.append(all(module.training for module in self._model.modules()))

    def state(self) -> State:
        """Return the observations so far, for `restore`."""
        return {
            "steps": self._steps,
            "rates": [float(rate) for rate in self._rates],
            "sum_of_rates": float(self._sum_of_rates),
            "dropped": [(int(dropped), int(known), rate) for dropped, known, rate in self._dropout.counts],
            "modes": list(self._modes),
            "notes_mode": self._awaited is not None,
            "before": dict(self._before),
        }

    def restore(self, state: State) -> None:
        """After `begin`, continue with the observations of an earlier process."""
        self._steps, self._rates, self._modes = state["steps"], state["rates"], state["modes"]
        self._sum_of_rates = state["sum_of_rates"]
        counts = [(torch.tensor(a), torch.tensor(b), rate) for a, b, rate in state["dropped"]]
        self._dropout.stop()
        self._dropout.counts = counts
        self._before = state["before"]
        if not state["notes_mode"] and self._awaited is not None:
            self._awaited.remove()
            self._awaited = None

    def end(self) -> Observed:
        """Remove the hooks and return the observations."""
        for handle in self._handles:
            handle.remove()
        self._dropout.stop()
        share, rate, elements = dropped_share(self._dropout.counts)
        change, moved = self._change()
        return Observed(
            optimizer_steps=self._steps,
            first_learning_rate=float(self._rates[0]) if self._rates else None,
            last_learning_rate=float(self._rates[-1]) if self._rates else None,
            learning_rate_sum=float(self._sum_of_rates),
            dropped_share=share,
            dropout_rate=rate,
            dropout_elements=elements,
            parameter_change=change,
            unmoved=tuple(name for name in self._before if name not in moved | self._frozen),
            training_mode=tuple(self._modes),
            moved_frozen=tuple(name for name in self._before if name in moved & self._frozen),
        )

    def _step(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        self._steps += 1
        self._note_mode()
        rate = optimizer.param_groups[0]["lr"]
        self._rates[1:] = [rate]
        self._sum_of_rates = self._sum_of_rates + rate

    def _change(self) -> tuple[float, frozenset[str]]:
        """Return the relative change of what trains, and the names of all tensors that changed."""
        after, sizes = _sample(self._model), {name: each.numel() for name, each in _tensors(self._model)}
        changes, norms, moved = 0.0, 0.0, set()
        for name, before in self._before.items():
            change = float((after[name] - before).square().sum())
            if change:
                moved.add(name)
            if name not in self._frozen:
                scale = sizes[name] / len(before)
                changes += scale * change
                norms += scale * float(before.square().sum())
        return math.sqrt(changes / norms) if norms else 0.0, frozenset(moved)


def _tensors(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, each) for name, each in model.named_parameters() if each.numel()]


def _sample(model: nn.Module) -> dict[str, torch.Tensor]:
    """Evenly spread elements of every parameter, in fp64 on the host."""
    found = {}
    for name, each in _tensors(model):
        flat = each.detach().reshape(-1)
        # One more than even, so that a stride does not follow the columns of a matrix.
        stride = -(-len(flat) // _SAMPLE) if len(flat) <= _SAMPLE else len(flat) // _SAMPLE | 1
        found[name] = flat[::stride][:_SAMPLE].double().cpu()
    return found
