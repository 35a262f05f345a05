"""Accuracy, F1 and Matthews correlation of a classifier, as one `evaluate.Metric`."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np
import numpy.typing as npt

_DESCRIPTION = "Accuracy, F1 of class 1 (macro average beyond two classes) and Matthews correlation."
_CITATION = "Matthews 1975 (doi:10.1016/0005-2795(75)90109-9); for several classes Gorodkin 2004."


class Classification(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """`compute(predictions=..., references=...)` of class indices; an undefined ratio is 0."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, *, predictions: list[int], references: list[int]) -> dict[str, Any]:
        predicted = np.asarray(predictions)
        actual = np.asarray(references)
        classes = max(2, int(max(predicted.max(), actual.max())) + 1)
        confusion = np.zeros((classes, classes))
        np.add.at(confusion, (actual, predicted), 1)
        return {
            "accuracy": float(np.trace(confusion) / confusion.sum()),
            "f1": _f1(confusion),
            "mcc": _mcc(confusion),
        }


def _f1(confusion: npt.NDArray[np.float64]) -> float:
    """2 TP / (actual + predicted): of class 1 of two, else the mean over the classes that either side has."""
    hits = np.diag(confusion)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    by_class = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
    return float(by_class[1] if len(hits) == 2 else by_class[total > 0].mean())


def _mcc(confusion: npt.NDArray[np.float64]) -> float:
    """Gorodkin's R_K, which is Matthews' coefficient for two classes; 0 where one side is constant."""
    actual, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    examples = confusion.sum()
    covariance = np.trace(confusion) * examples - actual @ predicted
    spread = (examples**2 - actual @ actual) * (examples**2 - predicted @ predicted)
    return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0
