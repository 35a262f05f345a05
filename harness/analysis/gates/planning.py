"""Estimate before a run what drop gates can detect, from the usual spread of runs on MRPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.analysis.comparison.matching import seed_option
from harness.analysis.gates.drops import MOST_EXCESS, ONE_SIDED, allowed_drop
from harness.analysis.gates.rules import drop_rule
from harness.analysis.stats.components import Components, Part
from harness.analysis.stats.interaction import Interaction
from harness.model.metrics import METRICS
from harness.model.suite import Gate
from harness.model.trial import Trial

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
    metric = METRICS[gate.metric]
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
