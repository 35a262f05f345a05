"""Score stored logits by metric files of the user: `python -P -m harness.training.processes.own_metrics`.

It reads one JSON document on standard input, `{"paths": [...], "resamples": R, "predictions": [{"labels":
[...], "logits": [[...], ...]}, ...]}`, and ends its standard output with one line of JSON, an `OwnAnswers`.

A score of any form has no sums over examples that a comparison could resample later. So each metric is also
computed on R resamples of the examples, the same for all evaluations of as many examples.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import evaluate
import numpy as np
from numpy.typing import NDArray

from harness.foreign import read_regular
from harness.model.quality import OwnAnswer, OwnAnswers, OwnScore

Values = NDArray[Any]

_LARGEST_BYTES: Final = 2**24
_SEED: Final = 20_260_301
_MOST_SECONDS: Final = 300.0
"""Resampling stops after this time for one file; the scores themselves are always computed."""


class UnusableMetricError(Exception):
    """A file that has no metric to compute; the message is the reason."""


def answer_of(
    path: Path, predictions: list[dict[str, Any]], resamples: int = 0, *, limit_s: float = _MOST_SECONDS
) -> OwnAnswer:
    """Return the scores by the metric of one file, or the reason why it has none."""
    try:
        source = read_regular(path, limit=_LARGEST_BYTES)
    except OSError as error:
        return OwnAnswer(reason=f"cannot be read: {error.strerror or error}")
    digest = hashlib.sha256(source).hexdigest()
    try:
        metric = _metric(path, source)
    except UnusableMetricError as error:
        return OwnAnswer(sha256=digest, reason=str(error))
    scores = [_score(metric, *_inputs(each)) for each in predictions]
    if resamples:
        end = time.monotonic() + limit_s
        scores = [
            _resampled(metric, score, _inputs(each), resamples, end)
            for score, each in zip(scores, predictions, strict=True)
        ]
    return OwnAnswer(sha256=digest, scores=tuple(scores))


def _metric(path: Path, source: bytes) -> Any:
    """Return the one `evaluate.Metric` that the file defines.

    The bytes that were hashed are those that run: the file is not read again.
    """
    module = ModuleType(f"harness_own_metric_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - the user's own file
    except BaseException as error:
        raise UnusableMetricError(f"cannot be loaded: {_told(error)}") from error
    found = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, evaluate.Metric) and each.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = ", ".join(each.__name__ for each in found) or "none"
        raise UnusableMetricError(f"expected one class derived from evaluate.Metric, found {names}")
    try:
        return found[0](keep_in_memory=True)
    except BaseException as error:
        raise UnusableMetricError(f"cannot be created: {_told(error)}") from error


def _inputs(each: dict[str, Any]) -> tuple[Values, Values]:
    """Return the predictions, classes or the numbers of a regression, and the references, each (N,)."""
    logits = np.asarray(each["logits"], dtype=np.float64)
    if logits.shape[1] == 1:
        return logits[:, 0], np.asarray(each["labels"], dtype=np.float64)
    return logits.argmax(axis=1), np.asarray(each["labels"], dtype=np.int64)


def _resampled(
    metric: Any, score: OwnScore, inputs: tuple[Values, Values], resamples: int, end: float
) -> OwnScore:
    """Return the score with those on resamples of the examples, or the reason why they are missing."""
    if score.value is None:
        return score
    predicted, labels = inputs
    drawn = np.random.default_rng([_SEED, labels.size]).integers(0, labels.size, (resamples, labels.size))
    values: list[float] = []
    for rows in drawn:
        if time.monotonic() > end:
            return _without(score, "computing it on resamples of the examples takes too long")
        found = _score(metric, predicted[rows], labels[rows])
        if found.value is None:
            return _without(score, f"on a resample of the examples, {found.reason}")
        values.append(found.value)
    return score.model_copy(update={"resampled": tuple(values)})


def _without(score: OwnScore, reason: str) -> OwnScore:
    return score.model_copy(update={"unresampled": reason})


def _score(metric: Any, predicted: Values, labels: Values) -> OwnScore:
    try:
        found = metric.compute(predictions=predicted.tolist(), references=labels.tolist())
    except BaseException as error:
        return OwnScore(reason=f"compute failed: {_told(error)}")
    if not isinstance(found, dict) or len(found) != 1:
        what = f"the keys {', '.join(map(str, found))}" if isinstance(found, dict) else repr(found)[:80]
        return OwnScore(reason=f"compute must return a dictionary with one number, found {what}")
    (value,) = found.values()
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        return OwnScore(reason=f"compute must return a finite number, found {repr(value)[:80]}")
    return OwnScore(value=float(value))


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def main() -> None:
    """Answer the one request on standard input."""
    asked = json.load(sys.stdin)
    answers = tuple(
        answer_of(Path(path), asked["predictions"], asked["resamples"]) for path in asked["paths"]
    )
    sys.stdout.write("\n" + OwnAnswers(answers=answers).model_dump_json() + "\n")


if __name__ == "__main__":
    main()
