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


def proofs(report: Report) -> dict[str, TrialResult]:
    """The proof of every variant of a report that has one, by `variant_id`."""
    by_function = {function_of(proof.trial).id: proof for proof in report.proofs}
    found = {
        result.trial.variant_id: by_function.get(function_of(result.trial).id) for result in report.results
    }
    return {variant: proof for variant, proof in found.items() if proof is not None}


def verdicts(report: Report) -> dict[str, ParityVerdict]:
    """The verdict on every variant of a report, by `variant_id`.

    A proof that did not complete proves nothing, and `unproven` is what its variants are called.
    """
    proved = proofs(report)
    return {
        variant: verdict_of(proved[variant]) if variant in proved else "unproven"
        for variant in dict.fromkeys(result.trial.variant_id for result in report.results)
    }


def between(before: TrialResult, after: TrialResult) -> ParityVerdict:
    """The verdict on two proofs against each other, by the logits that both keep.

    `unproven` where they are not of the same weights and examples, so that nothing follows.
    """
    one, other = before.predictions, after.predictions
    weights = [proof.checkpoint and proof.checkpoint.weights_sha256 for proof in (before, after)]
    if one is None or other is None or one.example_ids != other.example_ids or weights[0] != weights[1]:
        return "unproven"
    largest = max(
        abs(left - right)
        for rows in zip(one.logits, other.logits, strict=True)
        for left, right in zip(*rows, strict=True)
    )
    if largest <= EXACT.logit:
        return "exact"
    limit = max(THRESHOLDS[proof.trial.precision].logit for proof in (before, after))
    return "within" if largest <= limit else "differs"


def verdict_of(proof: TrialResult) -> ParityVerdict:
    """The verdict on one proof."""
    return judge(proof.parity, proof.trial.precision) if proof.parity is not None else "unproven"


def failing(report: Report) -> frozenset[str]:
    """Ids of the variants shown to compute another function: their speed is not called an improvement."""
    return frozenset(variant for variant, verdict in verdicts(report).items() if verdict == "differs")
