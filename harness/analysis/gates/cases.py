"""Models of a check: one case for each rule and variant, with verdict and reason."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Final, Literal

from pydantic import Field

from harness.analysis.comparison.models import Mismatch
from harness.errors import ExitCode, exit_code
from harness.model.frozen import Frozen
from harness.model.metrics import Goal
from harness.model.rich_display import Shown

GATES_SCHEMA_VERSION: Final = 1

CaseVerdict = Literal["passed", "failed", "unsure", "not comparable"]
CaseKind = Literal[
    "trials",
    "degenerate",
    "moved",
    "parity",
    "training",
    "stored",
    "inputs",
    "bound",
    "drop",
    "reference",
    "baseline",
    "mismatch",
]
OF_EVERY_VARIANT: Final[frozenset[CaseKind]] = frozenset(
    {"trials", "degenerate", "moved", "parity", "training", "baseline", "reference"}
)
"""Kinds with a case for each variant; those that pass are shown as one row with their number."""
Outcome = Literal["pass", "unsure", "fail", "not comparable"]
OnUnsure = Literal["warn", "fail", "more"]
Bounds = Annotated[tuple[float, float], Field(strict=False)]


class GateCase(Frozen):
    """One rule on one variant.

    `rule` is the rule in words, in the syntax of a gate if possible. `value` is the mean over the sound
    seeds, or the value that was compared with `baseline`. `limit` and `interval` (95 %) refer to the value
    for a bound; for a drop they refer to the drop, in the unit of the metric, or as a share of the baseline
    if `relative`. `detectable` is the smallest drop that turns the gate red with a power of 80 %; a gate is
    `underpowered` if that is more than twice its limit. `seeds` is the number of seeds per side that detects
    a drop of twice the limit, `next_step` how to add them. `assets` are sentences on stand-ins, generated
    data, limits and accepted weights.
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
    detectable: float | None = None
    underpowered: bool = False
    seeds: int | None = None
    next_step: str | None = None
    notes: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()


class GateReport(Shown, Frozen):
    """The whole check with its terms.

    `outcome` is `fail` if a case failed, or is unsure and `on_unsure` is not `warn`, or if some cases of a
    kind could be judged and others not; `not comparable` if no case failed and none of a kind could be
    judged, such as every bound on stand-ins. Both are red. `unsure` is a check without a failure but with
    an undecided case.
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

    def __repr__(self) -> str:
        counts = Counter(case.verdict for case in self.cases)
        verdicts = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
        return f"<GateReport {self.suite}: {self.outcome}: {verdicts or 'no gates'}>"

    __str__ = __repr__

    @property
    def exit_code(self) -> int:
        """0 if no gate failed, 1 if one did, 3 if there was nothing to compare."""
        if self.outcome == "not comparable":
            return ExitCode.NOT_COMPARABLE
        return exit_code(passed=self.outcome != "fail")

    @property
    def underpowered(self) -> int:
        """The number of drop gates whose smallest detectable drop exceeds twice the limit."""
        return sum(case.underpowered for case in self.cases)

    @property
    def seeds_wanted(self) -> int | None:
        """The number of seeds per side that decides all unsure drop gates, of those with a known number."""
        wanted = [case.seeds for case in self.cases if case.verdict == "unsure" and case.seeds is not None]
        return max(wanted, default=None)

    def count(self, *verdicts: CaseVerdict) -> int:
        """Return the number of cases with one of these verdicts."""
        return sum(case.verdict in verdicts for case in self.cases)
