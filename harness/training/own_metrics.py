"""Score stored logits by a user's metric files: `python -P -m harness.training.own_metrics`, a process.

It reads one JSON document on standard input, `{"paths": [...], "predictions": [{"labels": [...], "logits":
[[...], ...]}, ...]}`, and ends its standard output with one line of JSON, an `OwnAnswers`.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import evaluate
import numpy as np

from harness.foreign import read_regular
from harness.model.quality import OwnAnswer, OwnAnswers, OwnScore

_LARGEST_BYTES: Final = 2**24


class UnusableMetricError(Exception):
    """A file that has no metric to compute; the message is the reason."""


def answer_of(path: Path, predictions: list[dict[str, Any]]) -> OwnAnswer:
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
    return OwnAnswer(sha256=digest, scores=tuple(_score(metric, each) for each in predictions))


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
        return found[0]()
    except BaseException as error:
        raise UnusableMetricError(f"cannot be created: {_told(error)}") from error


def _score(metric: Any, each: dict[str, Any]) -> OwnScore:
    predicted = np.asarray(each["logits"], dtype=np.float64).argmax(axis=1).tolist()
    try:
        found = metric.compute(predictions=predicted, references=each["labels"])
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
    answers = tuple(answer_of(Path(path), asked["predictions"]) for path in asked["paths"])
    sys.stdout.write("\n" + OwnAnswers(answers=answers).model_dump_json() + "\n")


if __name__ == "__main__":
    main()
