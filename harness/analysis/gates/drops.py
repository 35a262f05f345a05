"""Drop gates: whether a metric dropped by more than a gate allows, and which drops are detectable.

The effect that `compare` tests against zero is tested against the limit. A gate fails if the drop is shown to
exceed the limit, adjusted over all drop gates of the check, so that an unchanged model turns a check red in
at most 2.5 % of cases. It passes if the drop is shown to be below the limit, and is unsure otherwise.

Before a run, the detectable drop is estimated from the usual spread of runs on MRPC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.analysis.comparison.compared_rows import Judged
from harness.analysis.comparison.matching import more_seeds, seed_option
from harness.analysis.comparison.models import ComparisonRow
from harness.analysis.comparison.next_step import between_runs, runs_step
from harness.analysis.gates.cases import CaseVerdict, GateCase
from harness.analysis.gates.rules import drop_rule
from harness.analysis.stats.components import Components, Interaction, Part
from harness.analysis.stats.tests import Adjusted, Effect, Interval, holm, open_alpha
from harness.model.metrics import metric_named
from harness.model.suite import Gate
from harness.model.trial import Trial

# One-sided: the rate of red for an unchanged model, or of green for a drop as large as the limit.
ONE_SIDED: Final = 0.025
# A gate is under-powered if its smallest detectable drop exceeds this multiple of the limit.
MOST_EXCESS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Drop:
    """A drop gate on one row. `base` is the baseline value and `allowed` the limit in the form of the gate.

    `relative` is true for a limit in percent of the baseline.
    """

    gate: Gate
    row: ComparisonRow
    effect: Effect
    base: float

    @property
    def relative(self) -> bool:
        """Whether the limit is a share of the baseline."""
        return isinstance(self.gate.max_drop, str)

    @property
    def allowed(self) -> float:
        """The largest drop that the gate allows: in the metric's unit, or a share of the baseline."""
        return allowed_drop(self.gate)

    @property
    def at_limit(self) -> Effect:
        """The effect with the error that it has if the true drop equals the limit."""
        return self.effect.at(self.as_effect(self.allowed))

    @property
    def p_exceeds(self) -> float | None:
        """One-sided p against a drop of at most the limit."""
        limit, effect = self.as_effect(self.allowed), self.at_limit
        return effect.p_below(limit) if self.row.goal == "max" else effect.p_above(limit)

    @property
    def p_stays_below(self) -> float | None:
        """One-sided p against a drop of at least the limit."""
        limit, effect = self.as_effect(self.allowed), self.at_limit
        return effect.p_above(limit) if self.row.goal == "max" else effect.p_below(limit)

    def as_effect(self, drop: float) -> float:
        """Return the effect, a difference or a ratio, of this drop."""
        sign = -1.0 if self.row.goal == "max" else 1.0
        if self.effect.ratio:
            return 1 + sign * (drop if self.relative else drop / abs(self.base))
        return sign * drop * (abs(self.base) if self.relative else 1.0)

    def of_effect(self, effect: float) -> float:
        """Return the drop of an effect: above zero if the metric got worse."""
        sign = -1.0 if self.row.goal == "max" else 1.0
        if self.effect.ratio:
            return sign * (effect - 1) * (1.0 if self.relative else abs(self.base)) + 0.0
        return sign * effect / (abs(self.base) if self.relative else 1.0) + 0.0

    def detectable(self, level: float) -> float | None:
        """Return the smallest drop that turns the gate red with 80 % power, or None."""
        found = self.effect.detectable(2 * level)
        if found is None:
            return None
        edge = self.as_effect(self.allowed)
        if not self.effect.ratio:
            return self.allowed + abs(self.of_effect(found))
        return self.of_effect(edge / found if self.row.goal == "max" else edge * found)

    def seeds(self, level: float) -> int | None:
        """Return the number of seeds per side that detects a drop of twice the limit."""
        once, twice = self.as_effect(self.allowed), self.as_effect(MOST_EXCESS * self.allowed)
        if not self.effect.ratio:
            return self.effect.trials_for(abs(twice - once), 2 * level)
        if min(once, twice) <= 0:
            return None
        return self.effect.trials_for(max(once / twice, twice / once), 2 * level)


def allowed_drop(gate: Gate) -> float:
    """Return the limit of a drop gate as a number; a percentage as a share."""
    if isinstance(gate.max_drop, str):
        return float(gate.max_drop[:-1]) / 100
    return gate.max_drop or 0.0


def judge_drops(drops: Sequence[Drop]) -> list[GateCase]:
    """Return a case for each drop; failures are adjusted by Holm over all of them."""
    adjusted = holm([drop.p_exceeds for drop in drops], ONE_SIDED)
    level = open_alpha(adjusted, ONE_SIDED)
    return [_case(drop, each, level) for drop, each in zip(drops, adjusted, strict=True)]


def _case(drop: Drop, adjusted: Adjusted | None, level: float) -> GateCase:
    row, gate = drop.row, drop.gate
    verdict = _verdict(drop, adjusted)
    found = drop.of_effect(row.effect or 0.0 if not drop.effect.ratio else drop.effect.value)
    interval = _interval(drop)
    detectable = None if drop.effect.components is None else drop.detectable(level)
    weak = drop.effect.components is not None and (
        detectable is None or detectable > MOST_EXCESS * drop.allowed
    )
    reason = [_found(drop, found, interval)]
    if drop.effect.components is not None:
        reason.append(_guards(drop, detectable))
    return GateCase(
        rule=drop_rule(gate),
        kind="drop",
        variant=row.variant,
        verdict=verdict,
        reason="; ".join(reason),
        metric=gate.metric,
        unit=row.unit,
        goal=row.goal,
        value=row.candidate.value,
        baseline=drop.base,
        drop=found,
        limit=drop.allowed,
        relative=drop.relative,
        interval=interval,
        detectable=detectable,
        underpowered=weak,
        seeds=drop.seeds(level) if weak or verdict == "unsure" else None,
        next_step=_next_step(drop, verdict, level, weak=weak),
        notes=row.notes,
        assets=row.assets,
    )


def _verdict(drop: Drop, adjusted: Adjusted | None) -> CaseVerdict:
    if drop.effect.identical:
        return "passed"
    below = drop.p_stays_below
    if adjusted is None or below is None:
        return "unsure"
    if adjusted.p <= ONE_SIDED:
        return "failed"
    return "passed" if below <= ONE_SIDED else "unsure"


def _interval(drop: Drop) -> Interval | None:
    found = drop.at_limit.interval(2 * ONE_SIDED)
    if found is None:
        return None
    low, high = sorted(drop.of_effect(end) for end in found)
    return low, high


def _found(drop: Drop, found: float, interval: Interval | None) -> str:
    around = ""
    if interval is not None:
        around = f" (95 %: {_amount(drop, interval[0])} to {_amount(drop, interval[1])})"
    return f"drop {_amount(drop, found)}{around}, allowed {_amount(drop, drop.allowed)}"


def _guards(drop: Drop, detectable: float | None) -> str:
    if detectable is None:
        return "detects no possible drop: add seeds"
    return f"detects drops of {_amount(drop, detectable)} or more (80 %)"


def _amount(drop: Drop, value: float) -> str:
    if drop.relative:
        return f"{100 * value:.3g} %"
    if drop.row.unit == "ratio":
        return f"{100 * value:.2g} points"
    return f"{value:.3g}"


def _next_step(drop: Drop, verdict: CaseVerdict, level: float, *, weak: bool) -> str | None:
    if verdict != "unsure" and not weak:
        return None
    if drop.effect.components is None:
        return drop.row.next_step
    seeds = drop.seeds(level)
    if between_runs(drop.effect) and (seeds is None or drop.effect.trials == 1):
        return runs_step(drop.row, drop.effect)
    twice = _amount(drop, MOST_EXCESS * drop.allowed)
    if seeds is None:
        return f"no number of seeds up to 200 detects drops of {twice}: allow a larger drop"
    wanted = more_seeds(drop.row.seeds, max(seeds, len(drop.row.seeds)))
    if len(wanted) > 40:
        return f"about {seeds} seeds detect drops of {twice}: allow a larger drop"
    return f"about {seeds} seeds detect drops of {twice}: {seed_option(wanted)}"


def drops_of(gate: Gate, judged: Sequence[Judged]) -> Iterator[Drop | Judged]:
    """Yield the rows for the metric of a gate as drops; rows without a testable effect stay unchanged."""
    for each in judged:
        if each.row.metric != gate.metric or each.row.variants > 1:
            continue
        base, effect = each.row.baseline.value, each.effect
        barred = base is None or each.row.verdict in ("not comparable", "missing", "failed")
        # A share of zero is undefined.
        barred = barred or (base == 0 and (isinstance(gate.max_drop, str) or each.row.kind == "ratio"))
        if barred or effect is None or base is None:
            yield each
        else:
            yield Drop(gate, each.row, effect, base)


# Fine-tuning BERT on MRPC: four published runs of one recipe range over 2.5 points.
SEED_SD: Final = 0.012
# The share of examples that exactly one of two such runs classifies correctly.
DISCORDANCE: Final = 0.08
EXAMPLES: Final = 408


def gate_warnings(gates: Sequence[Gate], trials: Sequence[Trial]) -> list[str]:
    """Return a warning for each drop gate that the number of seeds of a suite cannot decide.

    For scores this assumes the usual spread on MRPC (`SEED_SD`, `DISCORDANCE`, `EXAMPLES`), since the spread
    of this suite is not known yet; `check` prints the detection limit of the actual data. No number of seeds
    decides the speed of separate runs.
    """
    drops = [gate for gate in gates if gate.max_drop is not None]
    seeds = len({trial.seed for trial in trials})
    tests = len(drops) * len({trial.variant_id for trial in trials})
    return [warning for gate in drops if (warning := _warning(gate, seeds, tests)) is not None]


def usual_components(seeds: int) -> Components:
    """Return the variance components of a difference in accuracy over paired seeds on MRPC."""
    sampling = DISCORDANCE / EXAMPLES / seeds
    between = 2 * SEED_SD**2 / seeds + sampling
    return Components(
        Part(between, max(seeds - 1.0, 1.0)),
        floor=sampling,
        least=sampling,
        interaction=Interaction(DISCORDANCE, 1.0, EXAMPLES),
    )


def _warning(gate: Gate, seeds: int, tests: int) -> str | None:
    rule = drop_rule(gate)
    metric = metric_named(gate.metric)
    if metric.family != "quality":
        if metric.family == "memory":
            return None
        return (
            f"{rule}: two separate runs decide it only on a machine that was calibrated over separate states "
            "(harness calibrate SUITE --spread 10m); harness ab decides it anywhere"
        )
    if not metric.bounded or isinstance(gate.max_drop, str):
        return None
    allowed, level = allowed_drop(gate), 2 * ONE_SIDED / tests
    if seeds < 2:
        return f"{rule}: one seed a side decides nothing; add seeds: {seed_option(range(5))}"
    components = usual_components(seeds)
    found = components.detectable(level)
    if found is not None and found <= (MOST_EXCESS - 1) * allowed:
        return None
    detects = "no drop" if found is None else f"drops of {100 * (allowed + found):.2g} points or more"
    wanted = components.trials_for(allowed, seeds, level) if allowed > 0 else None
    more = "" if wanted is None else f"; about {wanted} seeds would detect {200 * allowed:.2g} points"
    return (
        f"{rule}: under-powered: {seeds} seeds usually detect {detects} (80 %; seeds that spread by "
        f"{100 * SEED_SD:g} points){more}"
    )
