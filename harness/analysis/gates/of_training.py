"""Cases about training: whether an engine trains as the reference, and whether parameters changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis.gates.models import CaseVerdict, GateCase
from harness.analysis.gates.rules import Group, seeds_text
from harness.analysis.observed import UNMOVED, did_not_move
from harness.analysis.training import (
    TrainingVerdict,
    failed_checks,
    training_proofs,
    training_verdicts,
)
from harness.model.results import Report, TrialResult

_WORDS: Final[dict[TrainingVerdict, CaseVerdict]] = {
    "same": "passed",
    "differs": "failed",
    "unproven": "unsure",
}


def training_cases(report: Report, groups: Sequence[Group]) -> Iterator[GateCase]:
    """Yield cases for variants with an attempted proof of training, or with observed parameters."""
    proofs, found = training_proofs(report), training_verdicts(report)
    for group in groups:
        if any(result.observed is not None for result in group.results):
            still = [result.trial.seed for result in group.results if did_not_move(result)]
            yield GateCase(
                rule="parameters change",
                kind="moved",
                variant=group.label,
                verdict="failed" if still else "passed",
                reason=f"{seeds_text(still)}: {UNMOVED}"
                if still
                else "the parameters of every trial changed",
            )
        if report.training_proofs:
            yield GateCase(
                rule="trains as the reference",
                kind="training",
                variant=group.label,
                verdict=_WORDS[found[group.variant]],
                reason=_reason(proofs.get(group.variant), found[group.variant]),
            )


def _reason(proof: TrialResult | None, verdict: TrainingVerdict) -> str:
    if proof is None or proof.training is None:
        return f"unproven: {proof.reason}" if proof is not None and proof.reason else "unproven"
    if verdict == "same":
        return f"{len(proof.training.checks)} checks passed"
    return "; ".join(f"{check.name}: {check.found}" for check in failed_checks(proof))
