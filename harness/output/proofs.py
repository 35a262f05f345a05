"""What was proved, as a table: differences beside their limits, and one word for each variant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import RenderableType

from harness.analysis.naming import labels
from harness.analysis.parity import verdict_of
from harness.output.document import proved
from harness.output.tables import FittedTable, safe_column
from harness.results.models import TrialResult


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
