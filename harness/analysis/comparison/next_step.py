"""The next step for an unsure row: an option or a command that can decide it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.analysis.comparison.matching import more_seeds, seed_option
from harness.analysis.comparison.models import ComparisonRow
from harness.analysis.stats.tests import Effect
from harness.model.looks import FEWEST_SEEDS

_USUAL_SEEDS: Final = 5
# Longer lists of seeds are impractical.
_MOST_LISTED: Final = 40
# The ratio to detect if neither a band nor the observed ratio gives a larger one.
_RATIO: Final = 1.05

_IN_TURN: Final = "run both sides in one interleaved session: harness ab BASE CANDIDATE"
_MORE_RUNS: Final = (
    ", or use earlier runs of this variant on this machine: compare or check with --history PATH"
)
_OTHER_SEEDS: Final = (
    ", or use earlier runs of this recipe with other seeds: compare or check with --history PATH"
)
# No option widens the margin of a ratio, and evaluation is not timed.
_LESS_SCATTER: Final = "time more steps in each trial, on a machine with less other load"
_EXACT: Final = "no trial decides it: numbers that do not scatter give no error; read the change as it is"

Adding = Callable[[int, ComparisonRow], str]
"""Return the option that runs this number of seeds of a row."""


def listed_seeds(seeds: int, row: ComparisonRow) -> str:
    """Return the option that lists so many seeds: those of the row first."""
    return seed_option(more_seeds(row.seeds, seeds))


def next_step(
    row: ComparisonRow,
    effect: Effect,
    margin: float | None,
    alpha: float,
    adding: Adding = listed_seeds,
) -> str:
    """Return advice for deciding the row, with the option or command.

    Args:
        row: an unsure row.
        effect: its effect.
        margin: of equivalence, or None.
        alpha: the level for detecting a further effect in the table.
        adding: the option that adds seeds.
    """
    if between_runs(effect) and (effect.components is None or effect.trials == 1):
        return runs_step(row, effect)
    if effect.lacks == "scatter":
        return _EXACT
    if effect.components is None and effect.ratio and effect.trials > 1 and not effect.identical:
        return _IN_TURN
    wanted = _wanted(effect, margin)
    if effect.components is None or effect.components.between.freedom < FEWEST_SEEDS - 1:
        step = f"add seeds, {_USUAL_SEEDS} for a start: {adding(_USUAL_SEEDS, row)}"
        return step if effect.ratio else step + _OTHER_SEEDS
    return _more_seeds(row, effect, wanted, alpha, adding)


def between_runs(effect: Effect) -> bool:
    """Return whether an effect on speed depends on the variance between separate runs, known or not."""
    known = effect.components is not None and bool(effect.components.added)
    return effect.ratio and (known or effect.lacks == "runs")


def runs_step(row: ComparisonRow, effect: Effect) -> str:
    """Return advice for a row of separate runs: a session of several seeds, or earlier runs."""
    seeds = f" {listed_seeds(_USUAL_SEEDS, row)}" if effect.trials == 1 else ""
    return f"{_IN_TURN}{seeds}{_MORE_RUNS}"


def _more_seeds(row: ComparisonRow, effect: Effect, wanted: float, alpha: float, adding: Adding) -> str:
    """Return the number of seeds that detects the wanted effect, or advice if no number does."""
    seeds = effect.trials_for(wanted, alpha)
    target = f"x{wanted:.3g}" if effect.ratio else f"{wanted:.3g}"
    if (seeds is None or seeds > _MOST_LISTED) and between_runs(effect):
        return runs_step(row, effect)
    if seeds is None or seeds > _MOST_LISTED:
        count = "no number of seeds finds" if seeds is None else f"only about {seeds} seeds find"
        instead = _LESS_SCATTER if effect.ratio else "widen the margin, or evaluate more examples"
        return f"{count} a difference of {target}: {instead}"
    if seeds <= effect.trials:
        return f"as many seeds again may decide it: {adding(2 * effect.trials, row)}"
    return f"about {seeds} seeds find a difference of {target}: {adding(seeds, row)}"


def _wanted(effect: Effect, margin: float | None) -> float:
    """Return the effect to detect: the margin, else the observed effect; for a ratio, the larger one."""
    if not effect.ratio:
        return margin or abs(effect.value)
    observed = max(effect.value, 1 / effect.value)
    return max(1 + margin if margin else _RATIO, observed)
