"""What was proved, as a table: differences beside their limits, and one word for each variant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import RenderableType

from harness.analysis.naming import labels
from harness.analysis.parity import THRESHOLDS, verdict_of
from harness.output.cells import Column
from harness.output.numbers import NOTHING
from harness.output.tables import FittedTable, safe_column
from harness.results.models import TrialResult


def proofs_table(proofs: Sequence[TrialResult]) -> RenderableType:
    """One row a proof; those that could not be made say why below."""
    names = labels(proof.trial for proof in proofs)
    shown = [
        Column("variant", tuple(names[proof.trial.variant_id] for proof in proofs), numeric=False),
        Column("logit difference", tuple(map(_logit, proofs))),
        Column("gradient error", tuple(map(_gradient, proofs))),
        Column("flipped", tuple(map(_flipped, proofs))),
        Column("parity", tuple(verdict_of(proof) for proof in proofs), numeric=False),
    ]
    return FittedTable(
        title="parity with the plain model: eager attention, padded, fp32, dropout off",
        subtitles=[],
        columns=[safe_column(column) for column in shown],
        notes=[f"{names[proof.trial.variant_id]}: {proof.reason}" for proof in proofs if proof.reason],
    )


def summary(proofs: Iterable[TrialResult]) -> str:
    """`3 exact, 1 within`: how many proofs came to which verdict."""
    counts = Counter(verdict_of(proof) for proof in proofs)
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.items())


def _logit(proof: TrialResult) -> str:
    limit = THRESHOLDS[proof.trial.precision].logit
    return NOTHING if proof.parity is None else _beside(proof.parity.largest_logit_difference, limit)


def _gradient(proof: TrialResult) -> str:
    limit = THRESHOLDS[proof.trial.precision].gradient
    return NOTHING if proof.parity is None else _beside(proof.parity.relative_gradient_error, limit)


def _flipped(proof: TrialResult) -> str:
    parity = proof.parity
    return NOTHING if parity is None else f"{parity.flipped_predictions} of {parity.examples}"


def _beside(value: float, limit: float) -> str:
    return f"{value:.1e} (limit {limit:.0e})"
