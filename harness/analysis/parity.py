"""Whether a variant computes the plain function: thresholds by precision, and what each proof says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from harness.results.models import Parity, Report, TrialResult
from harness.trial import Precision, Trial

ParityVerdict = Literal["exact", "within", "differs", "unproven"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """The largest differences that count as the same function at a precision.

    Each is several times what correct variants show on pretrained weights, and far below what attention
    across rows, attended padding or wrong inputs do.
    """

    logit: float
    gradient: float


THRESHOLDS: Final[dict[Precision, Threshold]] = {
    "fp32": Threshold(logit=1e-4, gradient=1e-3),
    "bf16": Threshold(logit=2e-2, gradient=5e-2),
    "fp16": Threshold(logit=5e-3, gradient=1e-2),
}
# Differences up to here are the order of summation and nothing else, in fp32.
EXACT: Final = Threshold(logit=1e-6, gradient=1e-5)


def function_of(trial: Trial) -> Trial:
    """The trial without what changes the training but not the function: its seed and its settings."""
    plain = Trial.model_fields
    return trial.model_copy(update={"seed": 0, "train": plain["train"].default})


def judge(parity: Parity, precision: Precision) -> ParityVerdict:
    """The verdict on one measurement; anything beyond a threshold of its precision `differs`."""
    found = (parity.largest_logit_difference, parity.relative_gradient_error)
    steps: tuple[tuple[ParityVerdict, Threshold], ...] = (("exact", EXACT), ("within", THRESHOLDS[precision]))
    for verdict, limit in steps:
        if found[0] <= limit.logit and found[1] <= limit.gradient:
            return verdict
    return "differs"


def limits(parity: Parity, precision: Precision) -> str:
    """What was measured, each beside its limit, in one line."""
    limit = THRESHOLDS[precision]
    return (
        f"largest logit difference {parity.largest_logit_difference:.1e} (limit {limit.logit:.0e}), "
        f"relative gradient error {parity.relative_gradient_error:.1e} (limit {limit.gradient:.0e}), "
        f"{parity.flipped_predictions} of {parity.examples} predictions flipped"
    )


def verdicts(report: Report) -> dict[str, ParityVerdict]:
    """The verdict on every variant of a report, by `variant_id`.

    A proof that did not complete proves nothing, and `unproven` is what its variants are called.
    """
    proofs = {function_of(proof.trial).id: verdict_of(proof) for proof in report.proofs}
    return {
        result.trial.variant_id: proofs.get(function_of(result.trial).id, "unproven")
        for result in report.results
    }


def verdict_of(proof: TrialResult) -> ParityVerdict:
    """The verdict on one proof."""
    return judge(proof.parity, proof.trial.precision) if proof.parity is not None else "unproven"


def failing(report: Report) -> frozenset[str]:
    """Ids of the variants shown to compute another function: their speed is not called an improvement."""
    return frozenset(variant for variant, verdict in verdicts(report).items() if verdict == "differs")
