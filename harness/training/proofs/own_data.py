"""Checks of a trial's training on its own data: its plan of batches, last evaluation and saved model.

A proof trains a small model on a few generated rows. What goes wrong with many rows or batches shows here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from harness.analysis.parity import ROUNDING, THRESHOLDS
from harness.model.job import TrialStoppedError
from harness.model.seeds import number_of
from harness.model.trial import Trial
from harness.model.values import Precision
from harness.training.batching import Batch
from harness.training.devices import autocast
from harness.training.padding import Collator
from harness.training.proofs.function import spread
from harness.training.proofs.reference import evaluate_reference, load_reference
from harness.training.proofs.reference_batches import count_computed, draw_batches, share_out, takes_types
from harness.training.tokenizing.tokens import TokenizedSplit

_MOST_NAMED: Final = 3
# The same weights and rows in other batches: rounding differs, and by less than from another implementation.
# A row in the place of another differs by a part of the logits' range.
_ROOM: Final = 2.0
_SAVED_ROWS: Final = 8
# The best that few steps allow may be two large ones in the place of two small ones.
_STEPS_APART: Final = 2.0


def check_plan(
    trial: Trial, lengths: npt.NDArray[np.int64], longest: int, planned: Sequence[Sequence[Batch]]
) -> None:
    """Compare the batches of all epochs with those that the proofs' own code draws from the seed.

    Args:
        trial: the plan is for.
        lengths: tokens of every example, shape (N,).
        longest: tokens of the longest example of the data set.
        planned: the batches of each epoch.

    Raises:
        TrialStoppedError: `failed`, naming the first epochs that differ.
    """
    problems = list(islice(_plan_problems(trial, lengths, longest, planned), _MOST_NAMED))
    if problems:
        raise TrialStoppedError(
            "failed",
            f"the plan of batches is not the seed's: {'; '.join(problems)}",
            hint="the planning is at fault, not the suite: run `harness prove` and report what it finds",
        )


def _plan_problems(
    trial: Trial, lengths: npt.NDArray[np.int64], longest: int, planned: Sequence[Sequence[Batch]]
) -> Iterator[str]:
    seed, accumulated = number_of(trial.seed, "order"), trial.train.gradient_accumulation_steps
    for epoch, batches in enumerate(planned):
        due = draw_batches(lengths, trial.batch_size, trial.padding.strategy, seed, epoch, accumulated)
        if [batch.rows.tolist() for batch in batches] != due:
            yield f"epoch {epoch + 1} has other batches than seed {seed} gives"
            continue
        for batch, rows in zip(batches, due, strict=True):
            shares = [lengths[share].tolist() for share in share_out(rows, trial.world_size) if share]
            real, computed = (
                sum(map(sum, shares)),
                sum(count_computed(share, trial.padding, longest) for share in shares),
            )
            if (batch.real_tokens, batch.computed_tokens) != (real, computed):
                yield (
                    f"a batch of epoch {epoch + 1} has {batch.real_tokens} real and "
                    f"{batch.computed_tokens} computed tokens, due {real} and {computed}"
                )
                break


def check_window(planned: Sequence[Sequence[Batch]], timed: Sequence[Sequence[Batch]]) -> None:
    """Make sure that the timed steps of a window represent the training: some of its steps, of its mean work.

    Args:
        planned: the batches of each optimizer step of the training.
        timed: those of each timed step.

    Raises:
        TrialStoppedError: `failed`, for a step that is none of the training's, or steps of other work.
    """
    problems = list(_window_problems(planned, timed))
    if problems:
        raise TrialStoppedError(
            "failed",
            f"the timed steps do not represent the training: {'; '.join(problems)}",
            hint="this is a defect of the planning, not of the suite: report it",
        )


def _window_problems(planned: Sequence[Sequence[Batch]], timed: Sequence[Sequence[Batch]]) -> Iterator[str]:
    if not timed:
        yield "there are none"
        return
    left = iter(planned)
    for at, step in enumerate(timed, start=1):
        rows = [batch.rows.tolist() for batch in step]
        if not any([batch.rows.tolist() for batch in each] == rows for each in left):
            yield f"timed step {at} is not a later step of the training than the ones before it"
            return
    most = max(map(len, planned))
    whole = [step for step in planned if len(step) == most]
    for what in ("real_tokens", "computed_tokens"):
        due, given = (
            np.array([sum(getattr(batch, what) for batch in step) for step in steps], dtype=float)
            for steps in (whole, timed)
        )
        limit = _STEPS_APART * float(np.ptp(due)) / len(given) + 1e-9
        if abs(float(given.mean() - due.mean())) > limit:
            yield (
                f"they have {given.mean():.6g} {what.replace('_', ' ')} on average, "
                f"those of the training {due.mean():.6g}"
            )


def check_logits(
    model: PreTrainedModel,
    collator: Collator,
    batch_size: int,
    precision: Precision,
    logits: npt.NDArray[np.float32],
) -> None:
    """Evaluate a batch of rows again, from the longest to the shortest, and compare it with the logits kept.

    The batch has the size and the length of the largest one of an evaluation, so that a compiled model
    computes it without another compilation.

    Args:
        model: after its last optimizer step.
        collator: of the evaluation split.
        batch_size: of the evaluation.
        precision: of the trial.
        logits: of the last evaluation, shape (N, classes), in the order of the split.

    Raises:
        TrialStoppedError: `failed`, where a row has other logits.
    """
    # In the order of an evaluation, so that its last row is among them.
    order = np.argsort(-collator.split.lengths, kind="stable")
    rows = order[np.linspace(0, len(order) - 1, min(batch_size, len(order))).round().astype(np.int64)]
    training = model.training
    model.train(mode=False)
    with torch.inference_mode(), autocast(model.device, precision):
        inputs = {name: each.to(model.device) for name, each in collator(rows.tolist()).items()}
        inputs.pop("labels")
        again = model(**inputs).logits.float().cpu().numpy()
    model.train(training)
    if (apart := _differing(again, logits[rows], precision)) is not None:
        raise TrialStoppedError(
            "failed",
            f"of {len(rows)} rows that were evaluated again some have other logits, by {apart:.2g}",
            hint="the evaluation is at fault, not the suite: run `harness prove` and report what it finds",
        )


def check_saved(
    folder: Path, split: TokenizedSplit, trial: Trial, logits: npt.NDArray[np.float32], pad_token_id: int
) -> None:
    """Load a saved model by transformers alone, and compare its logits of a few rows with those kept.

    Args:
        folder: of the saved model.
        split: the evaluation split.
        trial: that trained the model.
        logits: of its last evaluation, shape (N, classes), in the order of the split.
        pad_token_id: of the checkpoint.

    Raises:
        TrialStoppedError: `failed`, where the saved model has other logits.
    """
    rows = spread(split.lengths, min(_SAVED_ROWS, len(split)))
    model = load_reference(folder, logits.shape[1], 0)
    types = takes_types(model, trial.token_type_ids)
    again = evaluate_reference(model, split.select(rows), pad_token_id, types=types).numpy()
    if (apart := _differing(again, logits[rows], trial.precision)) is not None:
        raise TrialStoppedError(
            "failed",
            f"the saved model has other logits than the trained one, by {apart:.2g}",
            hint="leave out --save-models for this variant, and report it",
        )


def _differing(
    again: npt.NDArray[np.float32], kept: npt.NDArray[np.float32], precision: Precision
) -> float | None:
    """Return the largest difference, where it is more than rounding."""
    limit = (ROUNDING.get(precision) or THRESHOLDS[precision]).logit
    apart = float(np.abs(again - kept).max())
    return None if apart <= _ROOM * limit * max(1.0, float(np.abs(again).max())) else apart
