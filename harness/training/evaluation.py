"""Evaluation: sorted by length, put back in order, scored through `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from harness.analysis.stats.scoring import SCORINGS, is_constant, scores
from harness.model.arrays import Logits
from harness.model.job import TrialStoppedError
from harness.model.metrics import METRICS, on_split
from harness.model.quality import Predictions, Score, parts_of
from harness.model.values import Precision
from harness.training.devices import autocast
from harness.training.evaluate_modules.classification import Classification
from harness.training.padding import Collator

# Raised whenever the numbers of the metric module could change: reports of different versions do not compare.
METRIC_VERSION: Final = "classification-1"


def predict(
    model: PreTrainedModel, collator: Collator, batch_size: int, precision: Precision
) -> npt.NDArray[np.float32]:
    """The logits of every example of the collator's split, shape (N, classes), in the split's order.

    The longest rows come first, so that a device without enough memory fails at once; dropout is off, and
    the model's mode is put back.
    """
    training = model.training
    model.train(mode=False)
    order = np.argsort(-collator.split.lengths, kind="stable")
    parts: list[torch.Tensor] = []
    with torch.inference_mode(), autocast(model.device, precision):
        for start in range(0, len(order), batch_size):
            batch = collator(order[start : start + batch_size].tolist())
            inputs = {name: tensor.to(model.device) for name, tensor in batch.items() if name != "labels"}
            parts.append(model(**inputs).logits.float())
    model.train(training)
    by_length = torch.cat(parts).cpu().numpy()
    logits = np.empty_like(by_length)
    logits[order] = by_length
    return logits


def score_splits(
    logits: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.int64] | npt.NDArray[np.floating[Any]],
    splits: Mapping[str, int],
) -> Score:
    """Return the scores of several evaluation splits, those of further ones under names of their own.

    Args:
        logits: shape (N, classes), one split after another.
        labels: shape (N,).
        splits: the number of examples of each split, or empty for one split.

    Raises:
        TrialStoppedError: as `score`.
    """
    if not splits:
        return score(logits, labels)
    values: dict[str, float] = {}
    degenerate = False
    for place, (split, (start, end)) in enumerate(parts_of(splits).items()):
        found = score(logits[start:end], labels[start:end])
        values |= {on_split(name, split) if place else name: value for name, value in found.scores.items()}
        degenerate |= found.degenerate
    return Score(scores=values, degenerate=degenerate)


def score(
    logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64] | npt.NDArray[np.floating[Any]]
) -> Score:
    """Return loss and metrics of logits of shape (N, classes) against labels of shape (N,).

    Logits of shape (N, 1) are the outputs of a regression, whose labels are numbers.

    Raises:
        TrialStoppedError: `diverged`, for logits that are not finite.
    """
    if not np.isfinite(logits).all():
        raise TrialStoppedError(
            "diverged",
            f"the logits of {int((~np.isfinite(logits)).any(axis=1).sum())} of {len(logits)} evaluation "
            "examples are not finite",
            hint="lower the learning rate, or use a wider precision",
        )
    if logits.shape[1] == 1:
        return _score_regression(logits.astype(np.float64), labels.astype(np.float64))
    predicted = logits.argmax(axis=1)
    values = load_metric().compute(predictions=predicted.tolist(), references=labels.tolist())
    loss = cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(np.array(labels)))
    exact = logits.astype(np.float64)
    values |= {
        metric: float(scores(metric, labels, scoring.of_logits(labels, exact)[None])[0])
        for metric, scoring in SCORINGS.items()
        if scoring.of_logits is not None and METRICS[metric].of == "classification"
    }
    # The loss is kept in double precision, which resampling does without.
    return Score(scores=values | {"eval_loss": loss.item()}, degenerate=len(np.unique(predicted)) == 1)


def _score_regression(logits: npt.NDArray[np.float64], targets: npt.NDArray[np.float64]) -> Score:
    """Score outputs (N, 1) against targets (N,); without correlations where either is constant."""
    degenerate = is_constant(logits[:, 0]) or is_constant(targets)
    values = {
        metric: float(scores(metric, targets, scoring.of_logits(targets, logits)[None])[0])
        for metric, scoring in SCORINGS.items()
        if scoring.of_logits is not None
        and METRICS[metric].of == "regression"
        and not (degenerate and METRICS[metric].correlates)
    }
    return Score(scores=values, degenerate=degenerate)


def predictions_of(
    logits: npt.NDArray[np.float32], collator: Collator, splits: Mapping[str, int] | None = None
) -> Predictions:
    """The logits with the labels, ids and lengths of their examples, as a report keeps them."""
    return Predictions(
        example_ids=tuple(collator.split.example_ids.tolist()),
        labels=tuple(collator.split.labels.tolist()),
        logits=Logits(logits.tolist()),
        lengths=tuple(collator.split.lengths.tolist()),
        splits=dict(splits or {}),
    )


@cache
def load_metric() -> Any:
    """Our `evaluate.Metric`, made from its class.

    `evaluate.load` would copy its module into the Hub's cache once, and from then on run that copy without
    comparing it with the module: damage to it would change every score.
    """
    return Classification()
