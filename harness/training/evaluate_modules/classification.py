"""Accuracy, F1 and Matthews correlation of a classifier, as one `evaluate.Metric`."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np

from harness.analysis.stats.scoring import SCORINGS, scores
from harness.model.metrics import metrics_of

_DESCRIPTION = "Accuracy, F1 of class 1 (macro average beyond two classes) and Matthews correlation."
_CITATION = "Matthews 1975 (doi:10.1016/0005-2795(75)90109-9); for several classes Gorodkin 2004."


class Classification(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """`compute(predictions=..., references=...)` of class indices gives scores by metric name."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, *, predictions: list[int], references: list[int]) -> dict[str, Any]:
        labels, predicted = np.asarray(references), np.asarray(predictions)
        return {
            metric: float(scores(metric, labels, predicted[None])[0])
            for metric in metrics_of("quality")
            if SCORINGS[metric].of_logits is None
        }
