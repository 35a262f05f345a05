"""The next step of an unsure row: the option or the command that would decide it."""

from __future__ import annotations

from typing import Final

from harness.analysis.comparison.matching import seed_option
from harness.analysis.comparison.models import ComparisonRow
from harness.analysis.stats.tests import Effect

# With fewer a t test finds next to nothing.
FEWEST_SEEDS: Final = 3
_USUAL_SEEDS: Final = 5
# Longer lists of seeds are not something to run.
_MOST_LISTED: Final = 40
# A ratio worth deciding where neither a band nor the observed ratio gives one.
_RATIO: Final = 1.05


def next_step(row: ComparisonRow, effect: Effect, margin: float | None, alpha: float) -> str:
    """What decides the row, with what to type.

    Args:
        row: an unsure row.
        effect: its effect.
        margin: of equivalence; None where there is none.
        alpha: the level at which a further effect in the table would be found.
    """
    if effect.components is None and effect.ratio and effect.trials > 1 and not effect.identical:
        return "run both sides in one interleaved session: harness ab BASE CANDIDATE"
    wanted = _wanted(effect, margin)
    if effect.components is None or effect.components.between.freedom < FEWEST_SEEDS - 1:
        return f"add seeds, {_USUAL_SEEDS} for a start: {_option(_USUAL_SEEDS, row)}"
    seeds = effect.trials_for(wanted, alpha)
    target = f"x{wanted:.3g}" if effect.ratio else f"{wanted:.3g}"
    if seeds is None or seeds > _MOST_LISTED:
        count = "no number of seeds finds" if seeds is None else f"only about {seeds} seeds find"
        return f"{count} a difference of {target}: widen the margin, or evaluate more examples"
    if seeds <= effect.trials:
        return f"as many seeds again may decide it: {_option(2 * effect.trials, row)}"
    return f"about {seeds} seeds find a difference of {target}: {_option(seeds, row)}"


def _wanted(effect: Effect, margin: float | None) -> float:
    """The effect to find: the margin, else for a ratio the observed one where it is not tiny."""
    if not effect.ratio:
        return margin or abs(effect.value)
    observed = max(effect.value, 1 / effect.value)
    return max(1 + margin if margin else _RATIO, observed)


def _option(seeds: int, row: ComparisonRow) -> str:
    known = list(row.seeds)
    return seed_option([*known, *(seed for seed in range(seeds) if seed not in known)][:seeds])
