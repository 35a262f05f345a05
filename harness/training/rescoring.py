"""Score stored logits again: `python -P -m harness.training.rescoring`, in a separate process.

It reads one JSON document on standard input, a list of `{"labels": [...], "logits": [[...], ...]}`, and ends
its standard output with one line of JSON: `{"metric_version": ..., "scores": [...]}`, where a score has the
metrics by their names and `degenerate`, or the `reason` why there are none.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from harness.model.job import TrialStoppedError
from harness.training.evaluation import METRIC_VERSION, score


def rescore(labels: list[int], logits: list[list[float]]) -> dict[str, Any]:
    """The metrics of logits (N rows of one number a class) against N labels."""
    try:
        scored = score(np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64))
    except TrialStoppedError as error:
        return {"reason": str(error)}
    return {
        "eval_accuracy": scored.accuracy,
        "eval_f1": scored.f1,
        "eval_mcc": scored.mcc,
        "eval_loss": scored.loss,
        "degenerate": scored.degenerate,
    }


def main() -> None:
    """Answer the one request on standard input."""
    asked = json.load(sys.stdin)
    answer = {
        "metric_version": METRIC_VERSION,
        "scores": [rescore(each["labels"], each["logits"]) for each in asked],
    }
    sys.stdout.write("\n" + json.dumps(answer, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
