"""Roofline: the throughput of each variant relative to the measured peaks of its machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from harness.analysis.checks.inputs import mixed_inputs
from harness.model.results import Report, TrialResult

SHARE: Final = "matmul_peak_share"


@dataclass(frozen=True, slots=True)
class Roofline:
    """One variant and the peaks of its machine: medians over its completed trials; None if not measured.

    `flops` are those of the real tokens after warm-up, `per_second` over their training time. `peak` is of
    matrix products at the model's shapes, `square_peak` of large square ones (both FLOP/s), `copy_peak` of
    copies (bytes/s); `share` is `per_second` over `peak`. `reason` explains a missing share.
    """

    flops: float | None
    per_second: float | None
    peak: float | None
    share: float | None
    square_peak: float | None
    copy_peak: float | None
    reason: str | None


def rooflines(report: Report) -> Mapping[str, Roofline]:
    """Return rooflines by variant id; empty if no trial measured a peak or states why it could not.

    Variants whose trials have different inputs are excluded.
    """
    return {
        variant: _roofline(tried)
        for variant, results in report.variants().items()
        if (tried := _with_share(results)) and not mixed_inputs((result, report) for result in results)
    }


def _with_share(results: Sequence[TrialResult]) -> list[TrialResult]:
    """Return the completed trials that measured the share of a peak, or have a reason why not."""
    return [
        result for result in results if result.status == "completed" and result.measurement(SHARE) is not None
    ]


def _roofline(results: list[TrialResult]) -> Roofline:
    share = _median(results, SHARE)
    reasons = (found.reason for result in results if (found := result.measurement(SHARE)) is not None)
    return Roofline(
        flops=_median(results, "model_flops"),
        per_second=_median(results, "model_flops_per_second"),
        peak=_median(results, "matmul_peak_flops_per_second"),
        share=share,
        square_peak=_median(results, "square_matmul_peak_flops_per_second"),
        copy_peak=_median(results, "copy_peak_bytes_per_second"),
        reason=next((reason for reason in reasons if reason), None) if share is None else None,
    )


def _median(results: Iterable[TrialResult], metric: str) -> float | None:
    found = [value for result in results if (value := result.value(metric)) is not None]
    return median(found) if found else None
