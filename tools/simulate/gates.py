"""Whole checks of simulated models: how often an unchanged one is red, and a worse one green."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final

from harness.analysis.comparison.models import ComparisonRow, Side
from harness.analysis.gates.cases import GateCase
from harness.analysis.gates.drops import Drop, judge_drops
from harness.analysis.stats.quality_tests import compare_quality
from harness.analysis.stats.resampling import Case
from harness.analysis.stats.tests import Effect
from harness.model.metrics import METRICS
from harness.model.suite import Gate
from tools.simulate.rates import RESAMPLES
from tools.simulate.worlds import LABELS, Draw, QualityWorld

METRICS_GATED: Final = ("eval_accuracy", "eval_f1")
# After a larger drop from 84 % accuracy, a classifier only gives a constant answer.
LARGEST_DROP: Final = 0.7


@dataclass(frozen=True)
class GateWorld:
    """A suite of `variants`, each with a drop gate on accuracy and one on F1, and `seeds` per side."""

    seeds: int
    variants: int = 4
    allowed: float = 0.02
    quality: QualityWorld = field(default_factory=QualityWorld)

    def check(self, drops: Sequence[float], random: Draw) -> list[GateCase]:
        """Return the cases of a check of a candidate; `drops` are the drops of its accuracy by variant."""
        sides = [
            self.quality.draw(random, self.seeds, self.seeds, self.quality.shift(-drop)) for drop in drops
        ]
        cases = [Case(metric, LABELS, *side) for side in sides for metric in METRICS_GATED]
        effects = compare_quality(cases, resamples=RESAMPLES)
        return judge_drops(
            [self._drop(case.metric, effect) for case, effect in zip(cases, effects, strict=True)]
        )

    def _drop(self, metric: str, effect: Effect) -> Drop:
        base = METRICS[metric].least - effect.bounds[0]
        row = ComparisonRow(
            variant="simulated",
            metric=metric,
            unit=METRICS[metric].unit,
            goal=METRICS[metric].goal,
            verdict="unsure",
            baseline=Side(name="baseline", value=base),
            candidate=Side(name="candidate"),
            kind="difference",
            effect=effect.value,
            seeds=tuple(range(self.seeds)),
        )
        return Drop(Gate(metric=metric, max_drop=self.allowed), row, effect, base)


def false_reds(world: GateWorld, replicates: int, random: Draw) -> tuple[float, float]:
    """Return the shares of checks of an unchanged model that are red, and that leave a gate undecided."""
    checks = [world.check([0.0] * world.variants, random) for _ in range(replicates)]
    red = [any(case.verdict == "failed" for case in cases) for cases in checks]
    unsure = [any(case.verdict == "unsure" for case in cases) for cases in checks]
    return fmean(red), fmean(unsure)


def false_greens(world: GateWorld, replicates: int, random: Draw) -> float | None:
    """Return the share of accuracy gates that pass a drop as large as an earlier check printed as detectable.

    None if no gate prints one.
    """
    greens: list[bool] = []
    for _ in range(replicates):
        printed = world.check([0.0] * world.variants, random)[0].detectable
        if printed is not None and printed < LARGEST_DROP:
            again = world.check([printed, *[0.0] * (world.variants - 1)], random)[0]
            greens.append(again.verdict == "passed")
    return fmean(greens) if greens else None
