"""Fine-tuning written out: the reference that engines are compared with, of which none uses a line.

The model is the library's, with eager attention, in fp32 on the CPU. AdamW, the schedules, clipping and
accumulation are written from their definitions: Loshchilov and Hutter 2019 (arXiv:1711.05101, algorithm 2)
and the documentation of `transformers.TrainingArguments`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from harness.analysis.schedule import optimizer_steps, schedule_factor
from harness.model.trial import Trial
from harness.model.values import Train
from harness.training.proofs.reference_batches import (
    Batch,
    draw_batches,
    inputs_of,
    labels_of,
    takes_types,
)
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
    """One optimizer step: its batches, their losses, its learning rate, and the parameters after it."""

    batches: tuple[Batch, ...]
    losses: tuple[float, ...]
    learning_rate: float
    parameters: Tensors


@dataclass(frozen=True, slots=True)
class ReferenceEpoch:
    """The steps of an epoch, and the logits of the evaluation split after it, (N, classes)."""

    steps: tuple[Step, ...]
    logits: torch.Tensor


def train_reference(model: PreTrainedModel, trial: Trial, tokens: Tokenized) -> Iterator[ReferenceEpoch]:
    """Train the model in place, epoch by epoch, on batches drawn here."""
    train, types = trial.train, takes_types(model, trial.token_type_ids)
    total = optimizer_steps(trial, len(tokens.train))
    optimizer, done, epoch = _AdamW(model, train), 0, 0
    while done < total:
        batches = draw_batches(
            tokens.train.lengths,
            trial.batch_size,
            trial.padding.strategy,
            trial.seed,
            epoch,
        )
        steps = []
        for window in _windows(batches, train.gradient_accumulation_steps)[: total - done]:
            losses = backward(model, tokens.train, window, pad_token_id=tokens.pad_token_id, types=types)
            rate = train.learning_rate * schedule_factor(train, done, total)
            optimizer.step(rate)
            done += 1
            parameters = {name: each.detach().clone() for name, each in model.named_parameters()}
            steps.append(Step(tuple(window), tuple(losses), rate, parameters))
        logits = evaluate_reference(model, tokens.evaluation, tokens.pad_token_id, types=types)
        yield ReferenceEpoch(tuple(steps), logits)
        epoch += 1


def _windows(batches: Sequence[Batch], size: int) -> list[list[Batch]]:
    return [list(batches[start : start + size]) for start in range(0, len(batches), size)]


def backward(
    model: PreTrainedModel, split: TokenizedSplit, window: Sequence[Batch], *, pad_token_id: int, types: bool
) -> list[float]:
    """The loss of each batch of an accumulation window; leaves the gradient of their mean in the model."""
    model.zero_grad(set_to_none=True)
    losses = []
    for rows in window:
        logits = model(**inputs_of(split, rows, pad_token_id=pad_token_id, types=types)).logits
        loss = functional.cross_entropy(logits, labels_of(split, rows))
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


class _AdamW:
    """AdamW with decoupled decay except of biases and norms, after clipping by the norm of all gradients."""

    def __init__(self, model: nn.Module, train: Train) -> None:
        self._parameters = dict(model.named_parameters())
        self._decayed = set(self._parameters) - _not_decayed(model)
        self._train, self._count = train, 0
        self._mean = {name: torch.zeros_like(each) for name, each in self._parameters.items()}
        self._square = {name: torch.zeros_like(each) for name, each in self._parameters.items()}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        train = self._train
        gradients = {
            name: each.grad.clone() for name, each in self._parameters.items() if each.grad is not None
        }
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
        factor = train.max_grad_norm / (norm + 1e-6) if 0 < train.max_grad_norm < norm else 1.0
        self._count += 1
        for name, gradient in gradients.items():
            clipped = gradient * factor
            mean, square = self._mean[name], self._square[name]
            mean.copy_(train.adam_beta1 * mean + (1 - train.adam_beta1) * clipped)
            square.copy_(train.adam_beta2 * square + (1 - train.adam_beta2) * clipped**2)
            unbiased = mean / (1 - train.adam_beta1**self._count)
            spread = (square / (1 - train.adam_beta2**self._count)).sqrt() + train.adam_epsilon
            decay = train.weight_decay if name in self._decayed else 0.0
            parameter = self._parameters[name]
            parameter.copy_(parameter * (1 - rate * decay) - rate * unbiased / spread)


def _not_decayed(model: nn.Module) -> set[str]:
    names = {name for name, _ in model.named_parameters() if "bias" in name}
    for prefix, module in model.named_modules():
        if "norm" in type(module).__name__.lower():
            names |= {f"{prefix}.{name}" for name, _ in module.named_parameters(recurse=False)}
    return names
