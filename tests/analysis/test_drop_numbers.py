"""Drop gates against a t test at their limit, in every direction and form of metric and limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.analysis.comparison.models import ComparisonRow, Side
from harness.analysis.gates.applying import check
from harness.analysis.gates.cases import GateCase
from harness.analysis.gates.drops import Drop, gate_warnings, judge_drops, usual_components
from harness.analysis.stats.components import Components, Part
from harness.analysis.stats.ratios import RunVariance
from harness.analysis.stats.tests import Effect
from harness.model.results import Report
from harness.model.suite import Gate
from harness.model.values import PaddingStrategy
from tests.analysis.test_comparison import SPEED, result
from tests.factories import make_report, make_trial

FREEDOM = 7
LEVEL = 0.025


@dataclass(frozen=True)
class World:
    """A drop of a metric, in the unit of its test: a difference, or the logarithm of a ratio."""

    center: float
    error: float
    base: float
    allowed: float
    goal: Literal["max", "min"] = "max"
    ratio: bool = False
    relative: bool = False

    def unit(self, drop: float) -> float:
        """The effect of a drop in the unit of the test; a drop in percent is of the baseline."""
        share = drop if self.relative else drop / self.base
        worse = -share if self.goal == "max" else share
        if self.ratio:
            return math.log(1 + worse) if worse > -1 else -math.inf
        return worse * self.base

    def drop_of(self, unit: float) -> float:
        """The drop of an effect in the unit of the test, in that of the limit."""
        change = math.expm1(unit) if self.ratio else unit / self.base
        worse = -change if self.goal == "max" else change
        return worse if self.relative else worse * self.base

    def drop(self) -> Drop:
        value = math.exp(self.center) if self.ratio else self.center
        row = ComparisonRow(
            variant="bert",
            metric="eval_accuracy",
            unit="ratio",
            goal=self.goal,
            verdict="unsure",
            baseline=Side(name="baseline", value=self.base),
            candidate=Side(name="candidate", value=self.base),
            kind="ratio" if self.ratio else "difference",
            effect=value,
            seeds=tuple(range(8)),
        )
        effect = Effect(
            value,
            center=self.center,
            ratio=self.ratio,
            components=Components(Part(self.error**2, FREEDOM)),
            bounds=(0.0, math.inf) if self.ratio else (-math.inf, math.inf),
            trials=8,
        )
        limit = f"{100 * self.allowed!r}%" if self.relative else self.allowed
        return Drop(Gate(metric="eval_accuracy", max_drop=limit), row, effect, self.base)

    @property
    def p_exceeds(self) -> float:
        """The one-sided p against a drop of at most the limit."""
        distance = self.unit(self.allowed) - self.center
        return float(stats.t.sf((distance if self.goal == "max" else -distance) / self.error, FREEDOM))


WORLDS = st.builds(
    World,
    center=st.floats(-0.2, 0.2),
    error=st.floats(0.005, 0.1),
    base=st.floats(0.3, 3.0),
    allowed=st.sampled_from([0.01, 0.05, 0.1, 0.25]),
    goal=st.sampled_from(["max", "min"]),
    ratio=st.booleans(),
    relative=st.booleans(),
)


def judged(world: World) -> GateCase:
    (case,) = judge_drops([world.drop()])
    return case


@settings(max_examples=150)
@given(WORLDS)
def test_a_drop_is_tested_by_t_against_its_limit(world: World) -> None:
    case = judged(world)
    exceeds = world.p_exceeds
    expected = "failed" if exceeds <= LEVEL else "passed" if 1 - exceeds <= LEVEL else "unsure"
    if min(abs(exceeds - LEVEL), abs(1 - exceeds - LEVEL)) > 1e-6:
        assert case.verdict == expected
    assert case.limit == pytest.approx(world.allowed)
    assert case.drop == pytest.approx(world.drop_of(world.center), abs=1e-9)
    half = float(stats.t.ppf(1 - LEVEL, FREEDOM)) * world.error
    ends = sorted(world.drop_of(world.center + sign * half) for sign in (-1, 1))
    assert case.interval == pytest.approx(tuple(ends), rel=1e-6, abs=1e-9)


@settings(max_examples=60)
@given(WORLDS)
def test_a_drop_is_detected_as_far_beyond_the_limit_as_an_effect_from_zero(world: World) -> None:
    components = Components(Part(world.error**2, FREEDOM))
    distance = components.detectable(2 * LEVEL)
    assert distance is not None
    worse = -1 if world.goal == "max" else 1
    case = judged(world)
    edge = world.unit(world.allowed)
    assert case.detectable == pytest.approx(world.drop_of(edge + worse * distance), rel=1e-3)
    assert case.underpowered == (case.detectable is not None and case.detectable > 2 * world.allowed)
    if case.underpowered or case.verdict == "unsure":
        twice = abs(world.unit(2 * world.allowed) - edge)
        assert case.seeds == components.trials_for(twice, 8, 2 * LEVEL)
    else:
        assert case.seeds is None


@settings(max_examples=12)
@given(st.lists(WORLDS, min_size=2, max_size=4))
def test_several_drops_fail_together_by_holm_and_pass_each_alone(worlds: list[World]) -> None:
    exceeds = [world.p_exceeds for world in worlds]
    adjusted = multipletests(exceeds, method="holm")[1]
    for case, p, alone in zip(judge_drops([each.drop() for each in worlds]), adjusted, exceeds, strict=True):
        expected = "failed" if p <= LEVEL else "passed" if 1 - alone <= LEVEL else "unsure"
        if min(abs(p - LEVEL), abs(1 - alone - LEVEL)) > 1e-6:
            assert case.verdict == expected


def test_a_fall_by_all_of_a_rate_has_no_number_of_seeds() -> None:
    case = judged(World(-0.5, 0.5, 1.0, 0.5, ratio=True, relative=True))
    assert (case.verdict, case.seeds) == ("unsure", None)


def _speeds(factor: float, run: str) -> Report:
    made = [
        result(make_trial(seed=seed), range(30), speed=1_000.0 * factor * (1 + 1e-4 * seed))
        for seed in range(4)
    ]
    return make_report(made, run=run)


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [("2%", "failed"), ("8%", "passed"), ("5%", "unsure"), (20, "failed"), (80, "passed")],
)
def test_a_rate_that_falls_by_5_percent_is_judged_by_the_limit(limit: str | int, verdict: str) -> None:
    known = {SPEED: RunVariance(0.001**2, 30)}
    gate = Gate(metric=SPEED, max_drop=limit)
    found = check(_speeds(0.95, "b"), baseline=_speeds(1.0, "a"), gates=[gate], run_variance=known)
    (case,) = (each for each in found.cases if each.kind == "drop")
    assert case.verdict == verdict
    assert case.drop == pytest.approx(0.05 if case.relative else 50, rel=1e-2)
    faster = check(_speeds(1.0, "b"), baseline=_speeds(0.95, "a"), gates=[gate], run_variance=known)
    (case,) = (each for each in faster.cases if each.kind == "drop")
    assert case.verdict == "passed"


@pytest.mark.parametrize("variants", [1, 3])
@pytest.mark.parametrize("gates", [1, 2])
def test_a_suite_is_told_of_the_drops_that_its_seeds_do_not_decide(variants: int, gates: int) -> None:
    drops = [Gate(metric="eval_accuracy", max_drop=allowed) for allowed in (0.03, 0.05)][:gates]
    paddings: Sequence[PaddingStrategy] = ("static", "dynamic", "unpadded")
    for seeds in (1, 2, 3, 5, 8, 13, 21, 29):
        trials = [make_trial(name, seed) for name in paddings[:variants] for seed in range(seeds)]
        found = usual_components(seeds).detectable(2 * LEVEL / (variants * gates)) if seeds > 1 else None
        weak = [gate for gate in drops if found is None or found > float(gate.max_drop or 0)]
        told = gate_warnings(drops, trials)
        assert len(told) == len(weak), (seeds, told)
        assert all(("one seed a side" in each) == (seeds == 1) for each in told)
