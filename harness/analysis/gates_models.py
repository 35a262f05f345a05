"""What a check finds: one case for each rule and variant, each with its word and its sentence."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from harness.analysis.comparison_models import Mismatch
from harness.frozen import Frozen
from harness.metrics import Goal

GATES_SCHEMA_VERSION: Final = 1

CaseVerdict = Literal["passed", "failed", "unsure", "not comparable"]
CaseKind = Literal[
    "trials",
    "degenerate",
    "parity",
    "stored",
    "inputs",
    "bound",
    "drop",
    "reference",
    "baseline",
    "mismatch",
]
Outcome = Literal["pass", "fail", "not comparable"]
OnUnsure = Literal["warn", "fail"]
Bounds = Annotated[tuple[float, float], Field(strict=False)]


class GateCase(Frozen):
    """One rule on one variant.

    `rule` is the rule in words, as it would be typed where it can be. `value` is the mean over the sound
    seeds, or what the comparison set against `baseline`. `limit` and `interval` (95 %) are of the value for a
    bound; for a drop they are of the drop, in the metric's unit, or as a share of the baseline where
    `relative`.
    """

    rule: str
    kind: CaseKind
    variant: str
    verdict: CaseVerdict
    reason: str
    metric: str | None = None
    unit: str | None = None
    goal: Goal | None = None
    value: float | None = None
    baseline: float | None = None
    drop: float | None = None
    limit: float | None = None
    relative: bool = False
    interval: Bounds | None = None
    notes: tuple[str, ...] = ()


class GateReport(Frozen):
    """The whole check with the terms it was made on.

    `outcome` is `fail` if a case failed, or is unsure where that shall fail; `not comparable` if nothing
    failed but nothing that needs the baseline could be judged. Either is red.
    """

    schema_version: Literal[1] = GATES_SCHEMA_VERSION
    harness_version: str
    suite: str
    report: str
    baseline: str | None
    outcome: Outcome
    on_unsure: OnUnsure
    allow_degenerate: bool
    allowed_mismatches: tuple[str, ...]
    noise: dict[str, float]
    cases: tuple[GateCase, ...]
    mismatches: tuple[Mismatch, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 if all gates pass, 1 if one failed, 3 if there was nothing to compare."""
        return {"pass": 0, "fail": 1, "not comparable": 3}[self.outcome]

    def count(self, *verdicts: CaseVerdict) -> int:
        """How many cases have one of these verdicts."""
        return sum(case.verdict in verdicts for case in self.cases)
