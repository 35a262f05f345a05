"""What was proved, as a table: differences beside their limits, and one word for each variant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import RenderableType

from harness.analysis.naming import labels
from harness.analysis.parity import verdict_of
from harness.analysis.training import failed_checks, training_verdict
from harness.model.results import TrialResult
from harness.output.document import proved, proved_training
from harness.output.safe_text import safe_text
from harness.output.tables import LONGEST_NOTE, FittedTable, safe_column


def proofs_table(proofs: Sequence[TrialResult]) -> RenderableType:
    """One row a proof; those that could not be made say why below."""
    names = labels(proof.trial for proof in proofs)
    return FittedTable(
        title="parity with the plain model: eager attention, padded, fp32, dropout off",
        subtitles=[],
        columns=[safe_column(column) for column in proved(proofs)],
        notes=[f"{names[proof.trial.variant_id]}: {proof.reason}" for proof in proofs if proof.reason],
    )


def summary(proofs: Iterable[TrialResult]) -> str:
    """`3 exact, 1 within`: how many proofs came to which verdict; what only tokenises needs none."""
    counts = Counter(verdict_of(proof) for proof in proofs)
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.items()) or "nothing to prove"


def training_table(proofs: Sequence[TrialResult]) -> RenderableType:
    """One row a proof of training; below, what failed, why some could not be made, and what none covers."""
    names = labels(proof.trial for proof in proofs)
    failed = [
        f"{names[proof.trial.variant_id]}: {check.name}: {check.found}"
        for proof in proofs
        for check in failed_checks(proof)
    ]
    unmade = [f"{names[proof.trial.variant_id]}: {proof.reason}" for proof in proofs if proof.reason]
    left = {text: None for proof in proofs if proof.training for text in proof.training.unproved}
    return FittedTable(
        title="training by each engine, step by step, against a reference that shares no code with it",
        subtitles=[],
        columns=[safe_column(column) for column in proved_training(proofs)],
        notes=[
            safe_text(note, LONGEST_NOTE)
            for note in [*failed, *unmade, *(f"not proved: {text}" for text in left)]
        ],
    )


def training_summary(proofs: Iterable[TrialResult]) -> str:
    """`3 same, 1 differs`: how many proofs of training came to which verdict."""
    counts = Counter(map(training_verdict, proofs))
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.items()) or "nothing to prove"
