"""The proof of a variant's function: evaluation and gradients, against the plain model with its weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from accelerate.state import AcceleratorState
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import PreTrainedModel

from harness.model.arguments import Train
from harness.model.job import Job, TrialStoppedError
from harness.model.proof import Parity
from harness.model.quality import Predictions
from harness.model.seeds import number_of
from harness.model.trial import Trial
from harness.model.values import Precision
from harness.training.batching import plan_epoch
from harness.training.checkpoints import LoadedModel
from harness.training.devices import use_products
from harness.training.engines.engine import Training
from harness.training.engines.known_engines import ENGINES
from harness.training.engines.used_rows import UsedRows
from harness.training.evaluation import predict, predictions_of
from harness.training.loading import Corpus
from harness.training.measuring.steps import StepMeter
from harness.training.padding import Collator
from harness.training.proofs.low_rank import adapted_gradients
from harness.training.proofs.reference import Tensors, backward, evaluate_reference, load_reference
from harness.training.proofs.reference_batches import Batch, draw_batches, takes_types
from harness.training.proofs.token_arrays import wrong_rows
from harness.training.proofs.watching import parameters_of
from harness.training.tokenizing.tokens import Tokenized, TokenizedSplit
from harness.training.variants.attention import computes_fp32

# Rows evaluated beyond one batch of the trial's own size, so that a short last batch is among them.
_BEYOND: Final = 13
# Below this share of the whole gradient's norm a tensor's error is measured against that share: the gradient
# of a bias of keys is zero but for rounding.
_FLOOR: Final = 1e-3

Logits = npt.NDArray[np.float32]


def prove(
    job: Job, device: torch.device, corpus: Corpus, tokens: Tokenized, loaded: LoadedModel
) -> tuple[Parity, Predictions]:
    """Compare the trial's own way through its engine and its evaluation with the plain one.

    The plain one is written apart from all that a variant uses: the library's model with eager attention in
    fp32 on the CPU, rows drawn and padded by other code. Both take the same weights and rows, the shortest
    and the longest among them, with dropout off. The variant evaluates and trains with its own batch sizes,
    and takes two optimizer steps: over a window of accumulated batches, and over one short last batch.

    Returns:
        The differences, and the variant's logits of the evaluated examples. A trial in a reduced precision is
        compared in fp32 as well.

    Raises:
        TrialStoppedError: `failed`, where the engine did not take both steps.
    """
    trial = job.trial
    rows = _Rows.of(trial, tokens)
    plain = _Plain.of(job, corpus, rows, loaded.model)
    _drop_nothing(loaded.model)
    variant = _Variant(trial, loaded, device, tokens, rows)
    structure = None
    if trial.precision != "fp32" and computes_fp32(trial):
        structure, _ = variant.compare(plain, "fp32")
    parity, logits = variant.compare(plain, trial.precision)
    wrong = wrong_rows(
        Path(job.checkpoint.path),
        trial.task.max_length or tokens.max_length,
        [
            (corpus.train, tokens.train, rows.of_train),
            (corpus.evaluation, tokens.evaluation, rows.of_evaluation),
        ],
    )
    found = parity.model_copy(update={"fp32": structure, "wrong_rows": wrong})
    return found, predictions_of(logits, variant.evaluated)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a proof, and how training takes them: batches of `size`, `accumulated` to a window.

    `of_evaluation` and `of_train` are their places in the whole splits.
    """

    of_evaluation: list[int]
    of_train: list[int]
    evaluation: TokenizedSplit
    train: TokenizedSplit
    size: int
    accumulated: int
    pad_token_id: int

    @classmethod
    def of(cls, trial: Trial, tokens: Tokenized) -> _Rows:
        size = trial.batch_size
        there = len(tokens.train)
        accumulated = max(1, min(max(2, trial.train.gradient_accumulation_steps), (there - 1) // size))
        # Of several ranks the last batch is odd, so that their shares of it differ.
        last = max(1, size // 2) | (trial.world_size > 1)
        count = min(there, accumulated * size + last)
        evaluated = min(len(tokens.evaluation), trial.train.per_device_eval_batch_size + _BEYOND)
        of_evaluation = spread(tokens.evaluation.lengths, evaluated)
        of_train = spread(tokens.train.lengths, count)
        return cls(
            of_evaluation=of_evaluation.tolist(),
            of_train=of_train.tolist(),
            evaluation=tokens.evaluation.select(of_evaluation),
            train=tokens.train.select(of_train),
            size=size,
            accumulated=accumulated,
            pad_token_id=tokens.pad_token_id,
        )

    @property
    def steps(self) -> int:
        """Optimizer steps over all training rows."""
        return math.ceil(math.ceil(len(self.train) / self.size) / self.accumulated)

    def windows(self, trial: Trial) -> list[list[Batch]]:
        """The batches of each optimizer step."""
        batches = draw_batches(
            self.train.lengths,
            self.size,
            trial.padding.strategy,
            number_of(trial.seed, "order"),
            0,
            self.accumulated,
        )
        return [batches[at : at + self.accumulated] for at in range(0, len(batches), self.accumulated)]


def spread(lengths: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """So many rows of evenly spread rank in length, from the shortest to the longest."""
    ranks = np.linspace(0, len(lengths) - 1, count).round().astype(np.int64)
    rows: npt.NDArray[np.int64] = np.argsort(lengths, kind="stable")[ranks]
    return rows


@dataclass(frozen=True, slots=True)
class _Plain:
    """The plain model's logits of the evaluated rows, and its gradient at each optimizer step."""

    logits: Logits
    gradients: list[Tensors]

    @classmethod
    def of(cls, job: Job, corpus: Corpus, rows: _Rows, prepared: PreTrainedModel) -> _Plain:
        seed = number_of(job.trial.seed, "init")
        model = load_reference(Path(job.checkpoint.path), len(corpus.label_names), seed)
        _drop_nothing(model)
        types = takes_types(model, job.trial.token_type_ids)
        logits = evaluate_reference(model, rows.evaluation, rows.pad_token_id, types=types)
        gradients = []
        for window in rows.windows(job.trial):
            backward(model, rows.train, window, pad_token_id=rows.pad_token_id, types=types)
            found = {name: each.clone() for name, each in _gradients_of(model).items()}
            if job.trial.adapter.kind == "lora":
                found = adapted_gradients(model, job.trial.adapter, found, parameters_of(prepared))
            gradients.append(found)
        return cls(logits.numpy(), gradients)


class _Variant:
    """The prepared model with its collators, evaluated and trained as the trial does."""

    def __init__(
        self, trial: Trial, loaded: LoadedModel, device: torch.device, tokens: Tokenized, rows: _Rows
    ) -> None:
        self._trial, self._model, self._device, self._rows = trial, loaded.model, device, rows
        self.evaluated, self._trained = (
            Collator(split, trial.padding, loaded.columns, tokens.longest, tokens.pad_token_id)
            for split in (rows.evaluation, rows.train)
        )

    def compare(self, plain: _Plain, precision: Precision) -> tuple[Parity, Logits]:
        """Evaluate, then take the optimizer steps, in a precision that need not be the trial's own."""
        use_products(precision)
        batch = self._trial.train.per_device_eval_batch_size
        logits = predict(self._model, self.evaluated, batch, precision)
        errors: list[_Errors] = []

        def look(*_: Any) -> None:
            expected = plain.gradients[min(len(errors), len(plain.gradients) - 1)]
            errors.append(_Errors.of(_gradients_of(self._model), expected))

        self._take_steps(precision, look)
        if len(errors) != len(plain.gradients):
            raise TrialStoppedError(
                "failed",
                f"{len(errors)} optimizer steps were taken in {precision}, {len(plain.gradients)} are due",
                hint="with fp16 a gradient scaler leaves out a step that overflows: use bf16",
            )
        worst = max(errors, key=lambda each: each.of_tensor)
        return (
            Parity(
                examples=len(logits),
                largest_logit_difference=float(np.abs(logits - plain.logits).max()),
                relative_gradient_error=max(each.of_all for each in errors),
                flipped_predictions=int((logits.argmax(axis=1) != plain.logits.argmax(axis=1)).sum()),
                tensor_gradient_error=worst.of_tensor,
                tensor=worst.tensor,
            ),
            logits,
        )

    def _take_steps(self, precision: Precision, look: Callable[..., None]) -> None:
        """Take the optimizer steps at a learning rate so small that no weight changes."""
        rows, trial = self._rows, self._trial
        train = Train(
            max_steps=rows.steps,
            per_device_train_batch_size=rows.size // trial.world_size,
            gradient_accumulation_steps=rows.accumulated,
            learning_rate=1e-30,
            max_grad_norm=0.0,
            # Fused optimizers take gradients still scaled for fp16.
            optim="adamw_torch",
            gradient_checkpointing=trial.train.gradient_checkpointing,
        )
        plan = plan_epoch(
            rows.train.lengths,
            rows.size,
            trial.padding,
            longest=self._trained.longest,
            seed=number_of(trial.seed, "order"),
            epoch=0,
            accumulated=rows.accumulated,
            ranks=trial.world_size,
        )
        # accelerate has one precision a process, and prepares a model once: for the first one.
        AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001 - it has no other way
        vars(self._model).pop("_is_accelerate_prepared", None)
        with _before_the_optimizer(look):
            self._model.zero_grad(set_to_none=True)
            ENGINES[trial.engine].train(
                Training(
                    trial=trial.model_copy(update={"train": train, "precision": precision}),
                    model=self._model,
                    device=self._device,
                    collator=self._trained,
                    epochs=[plan],
                    meter=StepMeter(self._device, 0, lambda _progress: None, rows.steps),
                    on_epoch_end=lambda _epoch, _loss: None,
                    # Whatever would be captured in a training is proved captured.
                    capture_from=1,
                )
            )


@dataclass(frozen=True, slots=True)
class _Errors:
    """The relative error of a gradient: of all tensors together, and the largest of one, with its name."""

    of_all: float
    of_tensor: float
    tensor: str

    @classmethod
    def of(cls, found: Tensors, expected: Tensors) -> _Errors:
        norms = {name: float(each.norm()) for name, each in expected.items()}
        whole = math.sqrt(sum(norm**2 for norm in norms.values()))
        if found.keys() != expected.keys():
            odd = sorted(found.keys() ^ expected.keys())
            return cls(1.0, 1.0, f"{odd[0]}, which only one side has")
        apart = {name: float((found[name] - each).norm()) for name, each in expected.items()}
        by_tensor = {name: error / max(norms[name], _FLOOR * whole) for name, error in apart.items()}
        tensor = max(by_tensor, key=by_tensor.__getitem__)
        return cls(math.sqrt(sum(error**2 for error in apart.values())) / whole, by_tensor[tensor], tensor)


def _drop_nothing(model: PreTrainedModel) -> None:
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        # Some attention keeps its rate as a number.
        for name, value in vars(part).items():
            if "dropout" in name and isinstance(value, float):
                setattr(part, name, 0.0)


@contextmanager
def _before_the_optimizer(look: Callable[..., None]) -> Iterator[None]:
    """Call `look` just before each optimizer step."""
    handle = register_optimizer_step_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()


def _gradients_of(model: PreTrainedModel) -> Tensors:
    """All gradients by the parameters' names, zero where there is none, on the CPU in fp32."""
    whole = {
        f"{name}.weight": module.whole_gradient()
        for name, module in model.named_modules()
        if isinstance(module, UsedRows)
    }
    return {
        name: whole.get(name, torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
        .detach()
        .float()
        .cpu()
        for name, parameter in model.named_parameters()
    }
