"""Which derived numbers of a trial cannot be recomputed, because what they follow from is not stored."""

from __future__ import annotations

from typing import Final

from harness.model.metrics import metric_named, score_and_split
from harness.model.results import TrialResult

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "train_samples_per_second": ("train_step_seconds",),
    "train_real_tokens_per_second": ("train_step_seconds", "train_samples_per_second"),
    "train_real_tokens_per_second_per_device": ("train_real_tokens_per_second",),
    "padding_efficiency": ("train_step_seconds", "train_real_tokens_per_second"),
    "model_flops_per_second": ("train_step_seconds", "model_flops"),
    "model_flops_utilization": ("train_step_seconds", "model_flops", "published_peak_flops_per_second"),
    "matmul_peak_share": ("model_flops_per_second", "matmul_peak_flops_per_second"),
    "tokenize_examples_per_second": ("tokenize_seconds",),
    "tokenize_tokens_per_second": ("tokenize_seconds",),
}
"""The metrics from which each derived metric follows."""


def unverifiable(result: TrialResult, metric: str) -> str | None:
    """Return why a derived metric cannot be verified; None if it can, or is raw."""
    if metric_named(metric).family == "quality" and not _has_predictions(result, metric):
        return _lacks(result, "predictions")
    if metric == "train_loss" and not result.epochs:
        return _lacks(result, "epochs")
    needs = NEEDS.get(metric, ())
    missing = next((name for name in needs if result.value(name) is None), None)
    if missing is None and needs and result.data is None:
        missing = "data"
    return None if missing is None else _lacks(result, missing)


def _has_predictions(result: TrialResult, metric: str) -> bool:
    return result.predictions is not None and result.predictions.on(score_and_split(metric)[1]) is not None


def _lacks(result: TrialResult, what: str) -> str:
    return f"cannot be verified: trial {result.trial.id} stores no {what}; run the suite again"
