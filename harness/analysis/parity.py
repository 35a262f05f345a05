"""Whether a variant computes the plain function: thresholds by precision, and the verdict of each proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from harness.model.axis import plain
from harness.model.proof import Parity
from harness.model.results import Report, TrialResult
from harness.model.trial import Trial
from harness.model.values import Precision

ParityVerdict = Literal["exact", "within", "differs", "unproven"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """The largest differences that count as the same function at a precision.

    Each is several times what correct variants show on pretrained weights, and far below what attention
    across rows, attended padding or wrong inputs do.
    """

    logit: float
    gradient: float
    tensor: float


THRESHOLDS: Final[dict[Precision, Threshold]] = {
    "fp32": Threshold(logit=1e-4, gradient=1e-3, tensor=1e-2),
    # TensorFloat-32 keeps as many bits of a number as fp16.
    "tf32": Threshold(logit=5e-3, gradient=1e-2, tensor=0.1),
    "bf16": Threshold(logit=2e-2, gradient=5e-2, tensor=0.5),
    "fp16": Threshold(logit=5e-3, gradient=1e-2, tensor=0.1),
}
# Where the variant was compared in fp32 as well, a reduced precision is only to round: correct variants of
# the embedded checkpoints reach 2e-2, 5e-2 and 0.2 in bf16.
ROUNDING: Final[dict[Precision, Threshold]] = {
    "tf32": Threshold(logit=3e-2, gradient=5e-2, tensor=0.5),
    "bf16": Threshold(logit=0.1, gradient=0.25, tensor=1.0),
    "fp16": Threshold(logit=3e-2, gradient=5e-2, tensor=0.5),
}
# Differences up to here come from the order of summation alone, in fp32.
EXACT: Final = Threshold(logit=5e-6, gradient=1e-5, tensor=1e-3)


def function_of(trial: Trial) -> Trial:
    """Return the trial with the default on every axis that changes its training, or nothing but its speed."""
    defaults = plain(type(trial), "training", "nothing")
    train = trial.train.model_copy(update=defaults.pop("train"))
    return trial.model_copy(update=defaults | {"train": train})


def judge(parity: Parity, precision: Precision) -> ParityVerdict:
    """The verdict on one measurement; anything beyond a threshold of its precision `differs`.

    A trial in a reduced precision must compute the plain function in fp32 as well, and in its own precision
    must not equal fp32: then it did not run in that precision.
    """
    if parity.wrong_rows or (parity.fp32 is not None and judge(parity.fp32, "fp32") == "differs"):
        return "differs"
    if _within(parity, EXACT):
        return "exact" if precision == "fp32" else "differs"
    if precision != "fp32" and not_reduced(parity):
        return "differs"
    return "within" if _within(parity, limit_of(parity, precision)) else "differs"


def limit_of(parity: Parity, precision: Precision) -> Threshold:
    """The largest differences that a measurement may show at a precision."""
    return (THRESHOLDS if parity.fp32 is None else ROUNDING)[precision]


def _within(parity: Parity, limit: Threshold) -> bool:
    tensor = parity.tensor_gradient_error
    return (
        parity.largest_logit_difference <= limit.logit
        and parity.relative_gradient_error <= limit.gradient
        and (tensor is None or tensor <= limit.tensor)
    )


def not_reduced(parity: Parity) -> tuple[str, ...]:
    """What equals fp32 to rounding in a trial of a reduced precision: its evaluation, or its gradients."""
    same = {
        "evaluation": parity.largest_logit_difference <= EXACT.logit,
        "training": parity.relative_gradient_error <= EXACT.gradient,
    }
    return tuple(name for name, equal in same.items() if equal)


def limits(parity: Parity, precision: Precision) -> str:
    """Return the measurements with their limits in one line."""
    text = _measured(parity, limit_of(parity, precision))
    if parity.wrong_rows:
        text += f"; {parity.wrong_rows} rows have other tokens or labels than their texts give"
    if precision == "fp32":
        return text
    for name in not_reduced(parity):
        text += f"; {name} equals fp32: it did not run in {precision}"
    if parity.fp32 is not None:
        text += (
            f"; computed in fp32: {judge(parity.fp32, 'fp32')}: {_measured(parity.fp32, THRESHOLDS['fp32'])}"
        )
    return text


def _measured(parity: Parity, limit: Threshold) -> str:
    tensor = ""
    if parity.tensor_gradient_error is not None:
        tensor = f"of {parity.tensor} {parity.tensor_gradient_error:.1e} (limit {limit.tensor:.0e}), "
    return (
        f"largest logit difference {parity.largest_logit_difference:.1e} (limit {limit.logit:.0e}), "
        f"relative gradient error {parity.relative_gradient_error:.1e} (limit {limit.gradient:.0e}), {tensor}"
        f"{parity.flipped_predictions} of {parity.examples} predictions flipped"
    )


def proofs(report: Report) -> dict[str, TrialResult]:
    """The proof of every variant of a report that has one, by `variant_id`."""
    by_function = {function_of(proof.trial).id: proof for proof in report.proofs}
    if not by_function:
        return {}
    # All seeds of a variant compute one function.
    found = {
        variant: by_function.get(function_of(results[0].trial).id)
        for variant, results in report.variants().items()
    }
    return {variant: proof for variant, proof in found.items() if proof is not None}


def verdicts(report: Report) -> dict[str, ParityVerdict]:
    """The verdict on every variant of a report, by `variant_id`.

    A proof that did not complete proves nothing, and `unproven` is what its variants are called.
    """
    proved = proofs(report)
    return {
        variant: verdict_of(proved[variant]) if variant in proved else "unproven"
        for variant in report.variants()
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
