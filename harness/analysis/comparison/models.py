"""Models of a comparison of reports, or of the variants of one report."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Final, Literal

from pydantic import Field

from harness.analysis.parity import ParityVerdict
from harness.model.frozen import Frozen
from harness.model.looks import Verdict
from harness.model.metrics import Goal
from harness.model.rich_display import Shown
from harness.model.seeds import Seed

COMPARISON_SCHEMA_VERSION: Final = 1

Bounds = Annotated[tuple[float, float], Field(strict=False)]


class Side(Frozen):
    """One side of a row.

    `value` is the mean over the paired seeds for quality, else the median; None if unknown. `trials` is the
    number of trials in it, `device` the device that ran them.
    """

    name: str
    device: str | None = None
    parity: ParityVerdict | None = None
    value: float | None = None
    trials: int = 0


class ComparisonRow(Frozen):
    """One metric of one variant, candidate against baseline.

    `effect` is candidate minus baseline for quality, else candidate over baseline (`kind`). `interval` is the
    confidence interval behind the verdict, with coverage `coverage`: 90 % for `same`, decided by two
    one-sided tests, else the one that excludes no effect exactly if `p_holm` is at most 5 %. `p` is
    unadjusted, `p_holm` adjusted over the whole table. `detectable` is the smallest effect that a repetition
    detects with a power of 80 % after the adjustment: a difference, or a ratio above one. `equivalent` is
    whether two one-sided tests place the effect inside the margin. `pair_p` tests this one pair of models on
    these examples. `next_step` is advice for deciding an `unsure` row. `variants` is the number of variants
    that the row summarises. `parity` compares the functions of both sides; the parity of a side is against
    the plain model. `discordant` counts examples that only the baseline and only the candidate classifies
    correctly. `seeds` are on both sides, `dropped_seeds` on one side only. `mismatches` are the names of
    conditions that differ. `same function` is the verdict on scores that both sides took from one training:
    they were not measured twice. `assets` are sentences on stand-ins, generated data, limits and accepted
    weights of both sides.
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
    seeds: tuple[Seed, ...] = ()
    dropped_seeds: tuple[Seed, ...] = ()
    mismatches: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()


class Mismatch(Frozen):
    """A condition that differs where it should not, on `rows` aligned variants.

    `affects` is the group of metrics that it makes not comparable; `allowed`: whether the user allowed it.
    """

    name: str
    affects: Literal["every metric", "quality", "speed"]
    candidate: str
    before: str
    after: str
    rows: int
    allowed: bool


class FieldChange(Frozen):
    """A field of environment or configuration that differs; `None` for a side without it."""

    candidate: str
    field: str
    before: str | None
    after: str | None


class Flip(Frozen):
    """An example that the sides classify differently, as class numbers; `label` is the true class."""

    seed: Seed
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
    """Differences behind the verdicts: environment, configuration, inputs, and flipped examples.

    `inputs` are fields of the checkpoint and the data that were used.
    """

    environment: tuple[FieldChange, ...]
    inputs: tuple[FieldChange, ...] = ()
    configuration: tuple[FieldChange, ...]
    flips: tuple[Flips, ...]


class Comparison(Shown, Frozen):
    """The whole table with its terms.

    `by` is the axis inside one report, None between reports. `margins` are the equivalence margins by metric,
    in its unit. `noise` is the measured relative band of single equal runs, by metric.
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
