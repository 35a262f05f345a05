"""Defects of regression: its loss, its targets, and the scores of its outputs."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import Defect

_LABELS: Final = 'tensors["labels"] = torch.from_numpy(self.split.labels[index])'
_OUTPUTS: Final = "parts.append(model(**inputs).logits.float())"
_SCORED: Final = "return _score_regression(logits.astype(np.float64), labels.astype(np.float64))"

REGRESSION: Final = (
    Defect(
        "cross-entropy of one output",
        "regression",
        "checkpoints.py",
        '{"problem_type": "regression"}',
        '{"problem_type": "multi_label_classification"}',
        ("loop regression", "trainer regression"),
    ),
    Defect(
        "targets rounded to whole numbers",
        "regression",
        "padding.py",
        _LABELS,
        f"{_LABELS}.round()",
        ("loop regression",),
    ),
    Defect(
        "targets as shares of the scale",
        "regression",
        "padding.py",
        _LABELS,
        f"{_LABELS} / 5",
        ("trainer regression",),
    ),
    Defect(
        "outputs clipped to the scale",
        "regression",
        "evaluation.py",
        _OUTPUTS,
        "parts.append(model(**inputs).logits.float().clamp(0, 5))",
        ("loop regression",),
    ),
    Defect(
        "targets of another order scored",
        "regression",
        "evaluation.py",
        _SCORED,
        _SCORED.replace("labels.astype(np.float64)", "labels.astype(np.float64)[::-1]"),
        ("loop regression",),
    ),
    Defect(
        "absolute outputs scored",
        "regression",
        "evaluation.py",
        _SCORED,
        _SCORED.replace("logits.astype(np.float64)", "abs(logits.astype(np.float64))"),
        ("loop regression",),
    ),
)
