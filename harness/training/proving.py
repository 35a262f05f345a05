"""The proof of a variant: one step and one evaluation, against the plain model on the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import PreTrainedModel, set_seed

from harness.job import Job
from harness.results.models import Parity, Predictions
from harness.training.batching import plan_epoch
from harness.training.checkpoints import LoadedModel, load_model
from harness.training.data import Corpus
from harness.training.engine import Training
from harness.training.engines import ENGINES
from harness.training.evaluation import predict, predictions_of
from harness.training.measuring import StepMeter
from harness.training.padding import Collator
from harness.training.tokenization import Tokenized, TokenizedSplit
from harness.training.used_rows import UsedRows
from harness.trial import Train, Trial

_EXAMPLES: Final = 64
_BATCH: Final = 8

Logits = npt.NDArray[np.float32]
Gradient = npt.NDArray[np.float32]


def prove(
    job: Job, device: torch.device, corpus: Corpus, tokens: Tokenized, loaded: LoadedModel
) -> tuple[Parity, Predictions]:
    """Compare the trial's own way through its engine and its evaluation with the plain one.

    The plain one is written apart from all that a variant uses: the library's model with eager attention in
    fp32 on the CPU, rows padded by torch. Both take the same weights and the same evaluation examples, the
    shortest and the longest among them, with dropout off.

    Returns:
        The differences, and the variant's logits of those examples.
    """
    split = tokens.evaluation.select(_spread(tokens.evaluation.lengths))
    plain_logits, plain_gradient = _plain(job, corpus, split, loaded.columns, tokens.pad_token_id)
    collator = Collator(split, job.trial.padding, loaded.columns, tokens.longest, tokens.pad_token_id)
    _drop_nothing(loaded.model)
    logits = predict(loaded.model, collator, len(split), job.trial.precision)
    gradient = _step(job.trial, loaded.model, device, collator)
    parity = Parity(
        examples=len(split),
        largest_logit_difference=float(np.abs(logits - plain_logits).max()),
        relative_gradient_error=float(
            np.linalg.norm(gradient - plain_gradient) / np.linalg.norm(plain_gradient)
        ),
        flipped_predictions=int((logits.argmax(axis=1) != plain_logits.argmax(axis=1)).sum()),
    )
    return parity, predictions_of(logits, collator)


def _spread(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows of evenly spread rank in length, from the shortest to the longest; whole batches of them."""
    batch = min(_BATCH, len(lengths))
    count = min(_EXAMPLES, len(lengths)) // batch * batch
    ranks = np.linspace(0, len(lengths) - 1, count).round().astype(np.int64)
    rows: npt.NDArray[np.int64] = np.argsort(lengths, kind="stable")[ranks]
    return rows


def _plain(
    job: Job, corpus: Corpus, split: TokenizedSplit, columns: tuple[str, ...], pad_token_id: int
) -> tuple[Logits, Gradient]:
    """Logits of every row, and the gradient of the mean loss over all of them."""
    set_seed(job.trial.seed)
    model = load_model(
        Path(job.checkpoint.path),
        labels=corpus.label_names,
        attention="eager",
        token_type_ids=job.trial.token_type_ids,
        allows=job.allows_weight,
    ).model
    _drop_nothing(model)
    logits = []
    for start in range(0, len(split), _BATCH):
        rows = range(start, min(start + _BATCH, len(split)))
        inputs = _pad_by_torch(split, rows, columns, pad_token_id)
        output = model(**inputs, labels=torch.tensor(split.labels[rows.start : rows.stop]))
        (output.loss * len(rows) / len(split)).backward()
        logits.append(output.logits.detach())
    return torch.cat(logits).numpy(), _gradient_of(model)


def _pad_by_torch(
    split: TokenizedSplit, rows: range, columns: tuple[str, ...], pad_token_id: int
) -> dict[str, torch.Tensor]:
    def pad(name: str, value: int) -> torch.Tensor:
        array = getattr(split, name)
        spans = [slice(*split.offsets[row : row + 2]) for row in rows]
        return pad_sequence(
            [torch.tensor(array[span], dtype=torch.int64) for span in spans],
            batch_first=True,
            padding_value=value,
        )

    lengths = torch.tensor(split.lengths[rows.start : rows.stop])
    inputs = {"input_ids": pad("input_ids", pad_token_id)}
    inputs["attention_mask"] = (torch.arange(inputs["input_ids"].shape[1]) < lengths[:, None]).long()
    if "token_type_ids" in columns:
        inputs["token_type_ids"] = pad("token_type_ids", 0)
    return inputs


def _drop_nothing(model: PreTrainedModel) -> None:
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0


def _step(trial: Trial, model: PreTrainedModel, device: torch.device, collator: Collator) -> Gradient:
    """The gradient that the trial's engine hands to its optimizer in one step over all rows."""
    batch = min(_BATCH, len(collator.split))
    train = Train(
        max_steps=1,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=len(collator.split) // batch,
        max_grad_norm=0.0,
        # Fused optimizers take gradients still scaled for fp16.
        optim="adamw_torch",
    )
    plan = plan_epoch(
        collator.split.lengths, batch, trial.padding, longest=collator.longest, seed=trial.seed, epoch=0
    )
    training = Training(
        trial=trial.model_copy(update={"train": train}),
        model=model,
        device=device,
        collator=collator,
        epochs=[plan],
        meter=StepMeter(device, 0, lambda _progress: None, 1),
        on_epoch_end=lambda _epoch, _loss: None,
        # Whatever would be captured in a training is proved captured.
        capture_from=1,
    )
    with _before_the_optimizer(partial(_gradient_of, model)) as seen:
        ENGINES[trial.engine].train(training)
    return seen[0]


@contextmanager
def _before_the_optimizer(look: Any) -> Iterator[list[Gradient]]:
    """What `look` returns just before each optimizer step."""
    seen: list[Gradient] = []
    handle = register_optimizer_step_pre_hook(lambda *_: seen.append(look()))
    try:
        yield seen
    finally:
        handle.remove()


def _gradient_of(model: PreTrainedModel) -> Gradient:
    """All gradients as one vector, in the order of the parameters' names."""
    whole = {
        f"{name}.weight": module.whole_gradient()
        for name, module in model.named_modules()
        if isinstance(module, UsedRows)
    }
    gradients = (
        whole.get(name, torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
        for name, parameter in sorted(model.named_parameters())
    )
    parts = [gradient.flatten().cpu() for gradient in gradients]
    vector: Gradient = torch.cat(parts).float().numpy()
    return vector
