"""Find results of stand-ins and generated data that are not labelled as such."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.checks.contradiction import Contradiction
from harness.model.results import TrialResult


def mislabelled(result: TrialResult) -> Iterator[Contradiction]:
    """Yield a contradiction for an embedded asset that is stored as the real one."""
    checkpoint, data, metrics = result.checkpoint, result.data, tuple(result.metrics)
    if (
        checkpoint is not None
        and checkpoint.source == "embedded"
        and checkpoint.name != checkpoint.requested
        and not checkpoint.stand_in
    ):
        used = f"{checkpoint.name} was used in place of {checkpoint.requested}"
        yield Contradiction(metrics, "stand_in is false", used)
    if data is not None and data.source == "embedded" and not data.synthetic:
        yield Contradiction(metrics, "synthetic is false", f"{data.name} is generated")
