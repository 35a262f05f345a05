"""Comparison: what two or more reports, or the variants of one, say of each other."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Final, Literal

from pydantic import Field

from harness.analysis.parity import ParityVerdict
from harness.model.frozen import Frozen
from harness.model.metrics import Goal

COMPARISON_SCHEMA_VERSION: Final = 1

Verdict = Literal["better", "worse", "same", "unsure", "not comparable", "missing", "failed"]
Bounds = Annotated[tuple[float, float], Field(strict=False)]


class Side(Frozen):
    """One side of a row.

    `value` is the mean over the paired seeds for quality, the median for all else, None where nothing is
    known; `trials` is how many went into it, `device` the one they computed on.
    """

    name: str
    device: str | None = None
    parity: ParityVerdict | None = None
    value: float | None = None
    trials: int = 0


class ComparisonRow(Frozen):
    """One metric of one variant, candidate against baseline.

    `effect` is candidate minus baseline for quality and candidate over baseline for all else (`kind`).
    `interval` is the confidence interval that decided, with coverage `coverage`: 90 % for `same`, which two
    one-sided tests decide, else the one that excludes no effect exactly where `p_holm` is at most 5 %. `p` is
    the test's own, `p_holm` adjusted over the whole table. `detectable` is the smallest effect that a
    repetition would find with a power of 80 % after the adjustment: a difference, or a ratio above one.
    `equivalent` tells whether two one-sided tests put the effect inside the margin. `pair_p` tests this one
    pair of models on these examples. `next_step` is how an `unsure` row could be decided. `variants` is
    above 1 where the row summarises as many variants.
    `parity` is that of both functions against each other, each side's own is against the plain model.
    `discordant` counts examples that only the baseline and only the candidate got right. `seeds` are those
    on both sides; `dropped_seeds` those on one side only. `mismatches` name what does not match.
    """

    variant: str
    metric: str
    unit: str
    goal: Goal
    verdict: Verdict
    baseline: Side
    candidate: Side
    kind: Literal["difference", "ratio"]
    effect: float | None = None
    interval: Bounds | None = None
    coverage: float | None = None
    test: str | None = None
    p: float | None = None
    p_holm: float | None = None
    pair_p: float | None = None
    detectable: float | None = None
    next_step: str | None = None
    variants: int = 1
    equivalent: bool | None = None
    discordant: Annotated[tuple[int, int], Field(strict=False)] | None = None
    parity: ParityVerdict | None = None
    across_devices: bool = False
    seeds: tuple[int, ...] = ()
    dropped_seeds: tuple[int, ...] = ()
    mismatches: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Mismatch(Frozen):
    """A condition that differs where it should not, on `rows` aligned variants.

    `affects` says which metrics it makes not comparable; `allowed`, that it was waved through by name.
    """

    name: str
    affects: Literal["every metric", "quality", "speed"]
    candidate: str
    before: str
    after: str
    rows: int
    allowed: bool


class FieldChange(Frozen):
    """A field of environment or configuration that differs; `None` where one side lacks it."""

    candidate: str
    field: str
    before: str | None
    after: str | None


class Flip(Frozen):
    """An example that is classified otherwise: class numbers, `label` the right one."""

    seed: int
    example_id: int
    label: int
    before: int
    after: int


class Flips(Frozen):
    """The flipped examples of one aligned variant."""

    variant: str
    candidate: str
    flips: tuple[Flip, ...]


class Explanation(Frozen):
    """What lies behind the verdicts: what differs in environment, configuration and inputs, and what flipped.

    `inputs` are the fields of the checkpoint and the data that were used in fact.
    """

    environment: tuple[FieldChange, ...]
    inputs: tuple[FieldChange, ...] = ()
    configuration: tuple[FieldChange, ...]
    flips: tuple[Flips, ...]


class Comparison(Frozen):
    """The whole table with the terms it was made on.

    `by` is the axis inside one report, None between reports. `margins` are those of equivalence by metric, in
    the metric's unit. `noise` is the relative band by metric that single equal runs stay inside, as measured.
    """

    schema_version: Literal[1] = COMPARISON_SCHEMA_VERSION
    harness_version: str
    baseline: str
    candidates: tuple[str, ...]
    by: str | None
    margins: dict[str, float]
    alpha: float
    resamples: int
    allowed_mismatches: tuple[str, ...]
    speed_across_devices: bool
    noise: dict[str, float]
    rows: tuple[ComparisonRow, ...]
    mismatches: tuple[Mismatch, ...] = ()
    notes: tuple[str, ...] = ()
    explanation: Explanation | None = None

    def __repr__(self) -> str:
        counts = Counter(row.verdict for row in self.rows)
        verdicts = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
        return f"<Comparison of {', '.join(self.candidates)} with {self.baseline}: {verdicts or 'no rows'}>"

    __str__ = __repr__
