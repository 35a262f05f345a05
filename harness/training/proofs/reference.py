"""Fine-tuning written out: the reference that engines are compared with, of which none uses a line.

The model is the library's, with eager attention, in fp32 on the CPU. The optimizers, the schedules, label
smoothing, clipping and accumulation are written from their definitions: AdamW from Loshchilov and Hutter 2019
(arXiv:1711.05101, algorithm 2), others as named, and the documentation of `transformers.TrainingArguments`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from harness.analysis.checks.schedule import optimizer_steps, schedule_factor
from harness.model.arguments import Optimizer, Train
from harness.model.seeds import number_of
from harness.model.trial import Trial
from harness.training.proofs.reference_batches import Batch, draw_batches, inputs_of, labels_of, takes_types
from harness.training.tokenizing.tokens import Tokenized, TokenizedSplit

Tensors = dict[str, torch.Tensor]
"""Tensors by the name of their parameter."""


def load_reference(folder: Path, classes: int, seed: int) -> PreTrainedModel:
    """The library's own classifier, its head drawn from the seed, in training mode."""
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        folder,
        num_labels=classes,
        attn_implementation="eager",
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
    )
    model.train()
    return model


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: its batches, their losses, its learning rate, and the parameters after it.

    `rounding` names parameters whose gradient was zero but for rounding, which their steps follow.
    """

    batches: tuple[Batch, ...]
    losses: tuple[float, ...]
    learning_rate: float
    parameters: Tensors
    rounding: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ReferenceEpoch:
    """The steps of an epoch, and the logits of the evaluation split after it, (N, classes)."""

    steps: tuple[Step, ...]
    logits: torch.Tensor


def train_reference(model: PreTrainedModel, trial: Trial, tokens: Tokenized) -> Iterator[ReferenceEpoch]:
    """Train the model in place, epoch by epoch, on batches drawn here."""
    train, types = trial.train, takes_types(model, trial.token_type_ids)
    total = optimizer_steps(trial, len(tokens.train))
    optimizer, done, epoch = _Optimizer(model, train), 0, 0
    while done < total:
        batches = draw_batches(
            tokens.train.lengths,
            trial.batch_size,
            trial.padding.strategy,
            number_of(trial.seed, "order"),
            epoch,
            train.gradient_accumulation_steps,
        )
        steps = []
        for window in _windows(batches, train.gradient_accumulation_steps)[: total - done]:
            losses = backward(
                model,
                tokens.train,
                window,
                pad_token_id=tokens.pad_token_id,
                types=types,
                smoothing=train.label_smoothing_factor,
            )
            rate = train.learning_rate * schedule_factor(train, done, total)
            rounding = optimizer.step(rate)
            done += 1
            parameters = {name: each.detach().clone() for name, each in model.named_parameters()}
            steps.append(Step(tuple(window), tuple(losses), rate, parameters, rounding))
        logits = evaluate_reference(model, tokens.evaluation, tokens.pad_token_id, types=types)
        yield ReferenceEpoch(tuple(steps), logits)
        epoch += 1


def _windows(batches: Sequence[Batch], size: int) -> list[list[Batch]]:
    return [list(batches[start : start + size]) for start in range(0, len(batches), size)]


def loss_of(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """The mean loss of logits (B, classes): cross entropy, in part of equal classes.

    Of one output it is the mean squared error.
    """
    if logits.shape[1] == 1:
        return ((logits[:, 0] - labels) ** 2).mean()
    likely = functional.log_softmax(logits, dim=-1)
    right = likely[torch.arange(len(labels)), labels]
    return -((1 - smoothing) * right + smoothing * likely.mean(dim=-1)).mean()


def backward(
    model: PreTrainedModel,
    split: TokenizedSplit,
    window: Sequence[Batch],
    *,
    pad_token_id: int,
    types: bool,
    smoothing: float = 0.0,
) -> list[float]:
    """The loss of each batch of an accumulation window; leaves the gradient of their mean in the model."""
    model.zero_grad(set_to_none=True)
    losses = []
    for rows in window:
        logits = model(**inputs_of(split, rows, pad_token_id=pad_token_id, types=types)).logits
        loss = loss_of(logits, labels_of(split, rows), smoothing)
        torch.autograd.backward([loss / len(window)])
        losses.append(loss.item())
    return losses


@torch.no_grad()
def evaluate_reference(
    model: PreTrainedModel, split: TokenizedSplit, pad_token_id: int, *, types: bool
) -> torch.Tensor:
    """The logits of a split in its order, (N, classes), dropout off; the model is in training mode after."""
    model.train(mode=False)
    chunks = [range(start, min(start + 8, len(split))) for start in range(0, len(split), 8)]
    logits = [
        model(**inputs_of(split, rows, pad_token_id=pad_token_id, types=types)).logits for rows in chunks
    ]
    model.train()
    return torch.cat(logits)


@dataclass(slots=True)
class _Parameter:
    """A parameter with its decay, its averages by name, and how many steps it took."""

    value: torch.Tensor
    decay: float
    averages: Tensors
    count: int = 0

    def average(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """Return an average, zero before the first step."""
        return self.averages.setdefault(name, torch.zeros_like(like))


def _adamw(each: _Parameter, gradient: torch.Tensor, rate: float, train: Train) -> None:
    mean, square = each.average("mean", gradient), each.average("square", gradient)
    mean.copy_(train.adam_beta1 * mean + (1 - train.adam_beta1) * gradient)
    square.copy_(train.adam_beta2 * square + (1 - train.adam_beta2) * gradient**2)
    unbiased = mean / (1 - train.adam_beta1**each.count)
    spread = (square / (1 - train.adam_beta2**each.count)).sqrt() + train.adam_epsilon
    each.value.copy_(each.value * (1 - rate * each.decay) - rate * unbiased / spread)


def _sgd(each: _Parameter, gradient: torch.Tensor, rate: float, _train: Train) -> None:
    each.value.copy_(each.value - rate * (gradient + each.decay * each.value))


def _adagrad(each: _Parameter, gradient: torch.Tensor, rate: float, _train: Train) -> None:
    """Duchi et al. 2011, with torch's epsilon; decay belongs to the gradient."""
    gradient = gradient + each.decay * each.value
    total = each.average("total", gradient).add_(gradient**2)
    each.value.copy_(each.value - rate * gradient / (total.sqrt() + 1e-10))


def _rmsprop(each: _Parameter, gradient: torch.Tensor, rate: float, _train: Train) -> None:
    """Tieleman and Hinton 2012, with torch's smoothing and epsilon; decay belongs to the gradient."""
    gradient = gradient + each.decay * each.value
    square = each.average("square", gradient)
    square.copy_(0.99 * square + 0.01 * gradient**2)
    each.value.copy_(each.value - rate * gradient / (square.sqrt() + 1e-8))


def _adafactor(each: _Parameter, gradient: torch.Tensor, rate: float, _train: Train) -> None:
    """Shazeer and Stern 2018 (arXiv:1804.04235, algorithm 4), at a given rate, with decoupled decay."""
    keep, square = 1 - each.count**-0.8, gradient**2 + 1e-30
    if gradient.ndim < 2:
        spread = each.average("square", square)
        spread.copy_(keep * spread + (1 - keep) * square)
    else:
        rows, columns = each.average("rows", square.mean(-1)), each.average("columns", square.mean(-2))
        rows.copy_(keep * rows + (1 - keep) * square.mean(-1))
        columns.copy_(keep * columns + (1 - keep) * square.mean(-2))
        spread = rows.unsqueeze(-1) * columns.unsqueeze(-2) / rows.mean(-1, keepdim=True).unsqueeze(-1)
    update = gradient / spread.sqrt()
    update = update / max(1.0, float(update.square().mean().sqrt()))
    each.value.copy_(each.value * (1 - rate * each.decay) - rate * update)


_RULES: Final[dict[Optimizer, Callable[[_Parameter, torch.Tensor, float, Train], None]]] = {
    "adamw_torch": _adamw,
    "adamw_torch_fused": _adamw,
    "adafactor": _adafactor,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
    "sgd": _sgd,
}


@torch.no_grad()
def replay_steps(train: Train, start: Tensors, steps: Iterable[tuple[Tensors, float]]) -> Iterator[Tensors]:
    """Yield the parameters after each optimizer step by its rule alone, without decay and clipping.

    Args:
        train: names the optimizer, and has its betas and epsilon.
        start: the parameters before the first step.
        steps: the gradients and the learning rate of each step.
    """
    parameters = {name: _Parameter(each.clone(), 0.0, {}) for name, each in start.items()}
    for gradients, rate in steps:
        for name, gradient in gradients.items():
            parameters[name].count += 1
            _RULES[train.optim](parameters[name], gradient, rate, train)
        yield {name: each.value.clone() for name, each in parameters.items()}


# Below this share of the norm of all gradients a tensor's gradient is zero but for rounding, as that of the
# biases of keys. An optimizer that divides by it makes steps of full size of the rounding.
_ROUNDING: Final = 1e-6
_DIVIDE: Final = frozenset({"adafactor", "adagrad", "rmsprop"})


class _Optimizer:
    """Clipping by the norm of all gradients, then the rule; biases and norms do not decay."""

    def __init__(self, model: nn.Module, train: Train) -> None:
        self._model, self._train, still = model, train, _not_decayed(model)
        self._parameters = {
            name: _Parameter(each, 0.0 if name in still else train.weight_decay, {})
            for name, each in model.named_parameters()
        }

    @torch.no_grad()
    def step(self, rate: float) -> frozenset[str]:
        """Take a step; return the parameters that follow rounding alone."""
        train = self._train
        gradients = {
            name: each.grad.clone() for name, each in self._model.named_parameters() if each.grad is not None
        }
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
        factor = train.max_grad_norm / (norm + 1e-6) if 0 < train.max_grad_norm < norm else 1.0
        for name, gradient in gradients.items():
            parameter = self._parameters[name]
            parameter.count += 1
            _RULES[train.optim](parameter, gradient * factor, rate, train)
        if train.optim not in _DIVIDE:
            return frozenset()
        return frozenset(name for name, each in gradients.items() if float(each.norm()) < _ROUNDING * norm)


def _not_decayed(model: nn.Module) -> set[str]:
    names = {name for name, _ in model.named_parameters() if "bias" in name}
    for prefix, module in model.named_modules():
        if "norm" in type(module).__name__.lower():
            names |= {f"{prefix}.{name}" for name, _ in module.named_parameters(recurse=False)}
    return names
