"""Score stored logits again: `python -P -m harness.training.rescoring`, in a separate process.

It reads one JSON document on standard input, a list of `{"labels": [...], "logits": [[...], ...]}`, and ends
its standard output with one line of JSON, a `Scores`.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from harness.model.job import TrialStoppedError
from harness.model.quality import Score, Scores
from harness.training.evaluation import METRIC_VERSION, score


def rescore(labels: list[int] | list[float], logits: list[list[float]]) -> Score:
    """Return the scores of logits (N rows of one number a class) against N labels.

    Rows of one number are outputs of a regression, whose labels are numbers.
    """
    try:
        rows = np.asarray(logits, dtype=np.float64)
        if rows.shape[1] == 1:
            return score(rows, np.asarray(labels, dtype=np.float64))
        return score(rows, np.asarray(labels, dtype=np.int64))
    except TrialStoppedError as error:
        return Score(reason=str(error))


def main() -> None:
    """Answer the one request on standard input."""
    asked = json.load(sys.stdin)
    scores = tuple(rescore(each["labels"], each["logits"]) for each in asked)
    answer = Scores(metric_version=METRIC_VERSION, scores=scores)
    sys.stdout.write("\n" + answer.model_dump_json() + "\n")


if __name__ == "__main__":
    main()
