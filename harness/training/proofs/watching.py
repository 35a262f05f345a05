"""Watch a training from outside its engine: by hooks on the model and on torch's optimizers."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from harness.training.engines.used_rows import UsedRows
from harness.training.proofs.reference import Tensors

# Seconds to wait in a pass, by its place among those of its kind. A wait costs no processor time: a clock
# of that would miss it. The fifth pass of a training and the ninth belong to steps after warm-up, with and
# without accumulation. An evaluation is timed as a whole: its wait is longer than all between its passes.
_WAITS_IN_TRAINING: Final = {4: 0.01, 8: 0.01}
_WAITS_IN_EVALUATION: Final = {1: 0.1}


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass: the token ids of its rows without padding, and how it was run.

    `trains` tells whether gradients were on, `modes` which modes its modules were in. `dtypes` are those of
    the results of linear layers, and `computed` the tokens that most of these compute. `product_error` is the
    largest difference of such a result from the product by the layer's present weights, over the product's
    largest value; 0 where it is not computed: on a GPU, and in a compiled graph. `labels` and `loss` are None
    where none were given, as with label smoothing, whose loss comes from the `logits` (B, classes). It lasted
    from `began` to `ended`, in seconds of `time.perf_counter`, beside `workers` processes that load data.
    """

    rows: tuple[tuple[int, ...], ...]
    trains: bool
    modes: frozenset[bool]
    dtypes: frozenset[torch.dtype]
    computed: int
    product_error: float
    labels: tuple[float, ...] | None
    loss: torch.Tensor | None
    logits: torch.Tensor
    began: float
    ended: float
    workers: int = 0


@dataclass(frozen=True, slots=True)
class Update:
    """One step of an optimizer: its learning rates, the model's parameters after it, and when it ended.

    `passes` are the training passes so far, and `recomputed` the calls of linear layers outside of any pass
    since the step before: a backward pass makes them under gradient checkpointing. `gradients` are those that
    the step took, and `kept` the parameters and the optimizer's averages that it found. `fused` tells whether
    the optimizer steps in one kernel.
    """

    passes: int
    recomputed: int
    rates: frozenset[float]
    parameters: Tensors
    gradients: Tensors
    kept: Tensors
    ended: float
    fused: bool = False


@dataclass(slots=True)
class Seen:
    """Passes and optimizer steps, each in order; `linear` names the parameters of linear layers."""

    passes: list[Pass] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    linear: frozenset[str] = frozenset()

    @property
    def training(self) -> list[Pass]:
        """The passes with gradients."""
        return [each for each in self.passes if each.trains]

    @property
    def evaluation(self) -> list[Pass]:
        """The passes without."""
        return [each for each in self.passes if not each.trains]


def hook_first(module: nn.Module, hook: Callable[..., None]) -> RemovableHandle:
    """Register a forward hook before all others, which may hand on less than all rows.

    `prepend` alone leaves it the last key of the underlying dict, by which torch 2.11's compiler finds hooks.
    """
    handle = module.register_forward_hook(hook, prepend=True)
    hooks = module._forward_hooks  # noqa: SLF001 - torch has no other way to order them
    in_order = list(hooks.items())
    hooks.clear()
    hooks.update(in_order)
    return handle


@contextmanager
def watch(model: PreTrainedModel) -> Iterator[Seen]:
    """Record the passes of the model and the steps of its optimizers inside the context."""
    layers = {name: each for name, each in model.named_modules() if isinstance(each, nn.Linear)}
    names = (
        f"{name}.{own}" for name, each in layers.items() for own, _ in each.named_parameters(recurse=False)
    )
    recorder = _Recorder(model, Seen(linear=frozenset(names)))
    handles = [
        model.register_forward_pre_hook(recorder.begin_pass, with_kwargs=True),
        model.register_forward_hook(recorder.end_pass, with_kwargs=True),
        register_optimizer_step_pre_hook(recorder.begin_step),
        register_optimizer_step_post_hook(recorder.end_step),
        *(hook_first(each, recorder.note_linear) for each in layers.values()),
    ]
    try:
        yield recorder.seen
    finally:
        for handle in handles:
            handle.remove()


@dataclass(slots=True)
class _Recorder:
    """The hooks of `watch`: `began` to `product_error` are those of the current pass.

    `gradients` and `kept` are those of the current optimizer step, `processes` ran before the training.
    """

    model: PreTrainedModel
    seen: Seen = field(default_factory=Seen)
    began: float = 0.0
    modes: set[bool] = field(default_factory=set)
    dtypes: set[torch.dtype] = field(default_factory=set)
    computed: Counter[int] = field(default_factory=Counter)
    product_error: float = 0.0
    gradients: Tensors = field(default_factory=dict)
    kept: Tensors = field(default_factory=dict)
    inside: bool = False
    recomputed: int = 0
    processes: int = field(default_factory=lambda: len(multiprocessing.active_children()))

    def begin_pass(self, model: nn.Module, _args: Any, _kwargs: Any) -> None:
        """Start the clock, note the modes of all modules, and wait in a few passes."""
        self.began = time.perf_counter()
        if not self.seen.passes:
            # A model may be called before it trains, to compile it.
            self.recomputed = 0
        self.inside = True
        self.modes = {module.training for module in model.modules()}
        self.dtypes.clear()
        self.computed.clear()
        self.product_error = 0.0
        trains = torch.is_grad_enabled()
        same = self.seen.training if trains else self.seen.evaluation
        if wait := (_WAITS_IN_TRAINING if trains else _WAITS_IN_EVALUATION).get(len(same)):
            time.sleep(wait)

    def note_linear(self, layer: nn.Linear, args: Any, result: torch.Tensor) -> None:
        """Note the dtype and the tokens of a linear layer's result, and its error."""
        self.dtypes.add(result.dtype)
        if self.inside and result.device.type == "cpu" and not torch.compiler.is_compiling():
            self.product_error = max(self.product_error, _product_error(layer, args[0], result))
        self.recomputed += not self.inside
        self.computed[result.numel() // result.shape[-1]] += 1

    def end_pass(self, _model: nn.Module, _args: Any, kwargs: dict[str, Any], output: Any) -> None:
        """Add the pass."""
        labels, loss = kwargs.get("labels"), output.loss
        self.inside = False
        self.seen.passes.append(
            Pass(
                rows=_rows(kwargs["input_ids"], kwargs["attention_mask"]),
                trains=torch.is_grad_enabled(),
                modes=frozenset(self.modes),
                dtypes=frozenset(self.dtypes),
                computed=self.computed.most_common(1)[0][0],
                product_error=self.product_error,
                labels=None if labels is None else tuple(labels.tolist()),
                loss=None if loss is None else loss.detach().cpu().clone(),
                logits=output.logits.detach().cpu().clone(),
                began=self.began,
                ended=time.perf_counter(),
                workers=len(multiprocessing.active_children()) - self.processes,
            )
        )

    def begin_step(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        """Note the gradients that the step takes, and what it changes as the last one left it."""
        self.kept = parameters_of(self.model) | _averages(optimizer)
        self.gradients = {
            name: each.grad.detach().cpu().clone()
            for name, each in self.model.named_parameters()
            if each.grad is not None
        }

    def end_step(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        """Add the optimizer step."""
        ended = time.perf_counter()
        self.seen.updates.append(
            Update(
                passes=len(self.seen.training),
                recomputed=self.recomputed,
                rates=frozenset(float(group["lr"]) for group in optimizer.param_groups),
                parameters=parameters_of(self.model),
                gradients=self.gradients,
                kept=self.kept,
                ended=ended,
                fused=any(bool(group.get("fused")) for group in optimizer.param_groups),
            )
        )
        self.recomputed = 0


def _product_error(layer: nn.Linear, given: torch.Tensor, result: torch.Tensor) -> float:
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        due = nn.functional.linear(given.float(), *(each.float() for each in layer.parameters(recurse=False)))
        return float(
            (result.float() - due).abs().max() / due.abs().max().clamp_min(torch.finfo(due.dtype).tiny)
        )


def parameters_of(model: nn.Module) -> Tensors:
    """A copy of all parameters by name, on the CPU."""
    return {name: each.detach().cpu().clone() for name, each in model.named_parameters()}


def used_rows(model: nn.Module) -> Tensors:
    """For each embedding of some rows alone, by the name of its weight: which rows these are."""
    return {
        f"{name}.weight": module.used.cpu()
        for name, module in model.named_modules()
        if isinstance(module, UsedRows)
    }


def _rows(ids: torch.Tensor, mask: torch.Tensor) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row[kept.bool()].tolist()) for row, kept in zip(ids.cpu(), mask.cpu(), strict=True))


def _averages(optimizer: torch.optim.Optimizer) -> Tensors:
    """A copy of every tensor of an optimizer's state that is more than a number."""
    return {
        f"{name} of the optimizer's tensor {at}": each.detach().cpu().clone()
        for at, state in enumerate(optimizer.state.values())
        for name, each in state.items()
        if isinstance(each, torch.Tensor) and each.ndim
    }
