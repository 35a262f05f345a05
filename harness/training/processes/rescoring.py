"""Score stored logits again: `python -P -m harness.training.processes.rescoring`.

It reads one JSON document on standard input, a list of `{"labels": [...], "logits": [[...], ...]}`, with the
number of examples of each of several evaluation splits in `splits`, and ends its standard output with one
line of JSON, a `Scores`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import numpy as np

from harness.model.job import TrialStoppedError
from harness.model.quality import Score, Scores
from harness.training.evaluation import METRIC_VERSION, score_splits


def rescore(
    labels: list[int] | list[float], logits: list[list[float]], splits: Mapping[str, int] | None = None
) -> Score:
    """Return the scores of logits (N rows of one number a class) against N labels, of each of the splits.

    Rows of one number are outputs of a regression, whose labels are numbers.
    """
    try:
        rows = np.asarray(logits, dtype=np.float64)
        targets = np.asarray(labels, dtype=np.float64)
        return score_splits(rows, targets if rows.shape[1] == 1 else targets.astype(np.int64), splits or {})
    except TrialStoppedError as error:
        return Score(reason=str(error))


def main() -> None:
    """Answer the one request on standard input."""
    asked = json.load(sys.stdin)
    scores = tuple(rescore(**each) for each in asked)
    answer = Scores(metric_version=METRIC_VERSION, scores=scores)
    sys.stdout.write("\n" + answer.model_dump_json() + "\n")


if __name__ == "__main__":
    main()
