"""Error rates of effects and verdicts by simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from harness.analysis.stats.components import ALPHA
from harness.analysis.stats.machine_states import run_variance
from harness.analysis.stats.quality_tests import compare_quality
from harness.analysis.stats.ratios import RunVariance, Separate, compare_trials
from harness.analysis.stats.resampling import Case
from harness.analysis.stats.tests import Effect, is_equivalent
from tools.simulate.worlds import LABELS, Draw, QualityWorld, SpeedWorld, alternating

# More resamples change a standard error by less than 3 %.
RESAMPLES: Final = 500


@dataclass(frozen=True)
class Power:
    """Power at the printed effect: for gains and drops, and the share of comparisons that print one."""

    gain: float
    drop: float
    printed: float


def quality_effects(
    world: QualityWorld, metric: str, seeds: int, shifts: Sequence[float], random: Draw
) -> list[Effect]:
    """Return an effect for each shift of the candidate, with `seeds` paired seeds per side."""
    cases = [Case(metric, LABELS, *world.draw(random, seeds, seeds, shift)) for shift in shifts]
    return compare_quality(cases, resamples=RESAMPLES)


def false_alarms(world: QualityWorld, metric: str, seeds: int, replicates: int, random: Draw) -> float:
    """The share of equal recipes that are called better or worse."""
    effects = quality_effects(world, metric, seeds, [0.0] * replicates, random)
    return fmean(_significant(effect, ALPHA) for effect in effects)


def power_as_printed(
    world: QualityWorld, metric: str, seeds: int, tests: int, replicates: int, random: Draw
) -> Power | None:
    """The power of new comparisons at the effects that comparisons of equals printed; None if none did.

    `tests` is how many are adjusted together: a printed effect and its new comparison use `ALPHA / tests`.
    """
    alpha = ALPHA / tests
    null = quality_effects(world, metric, seeds, [0.0] * replicates, random)
    printed = [found for effect in null if (found := effect.detectable(alpha)) is not None]
    if len(printed) < replicates / 20:
        return None
    gains, drops = ([world.change(metric, sign * found) for found in printed] for sign in (1, -1))
    sides = [
        quality_effects(world, metric, seeds, [world.shift(each) for each in changes], random)
        for changes in (gains, drops)
    ]
    gain, drop = (fmean(_significant(effect, alpha) for effect in effects) for effects in sides)
    return Power(gain, drop, len(printed) / replicates)


def wrongly_same(world: QualityWorld, margin: float, seeds: int, replicates: int, random: Draw) -> float:
    """The share called `same` of recipes that differ by the margin."""
    shift = world.shift(-margin)
    effects = quality_effects(world, "eval_accuracy", seeds, [shift] * replicates, random)
    return fmean(bool(effect.identical or is_equivalent(effect, -margin, margin)) for effect in effects)


@dataclass(frozen=True)
class SpeedCase:
    """How two variants are timed: `trials` of each, in one run or in two.

    `ratio` is the true ratio of the second side's times, `band` the noise band of single runs, `known_runs`
    from how many calibrating runs the variance between runs was estimated (None: unknown), and `order` the
    variants' order for each seed.
    """

    trials: int
    runs: int = 1
    ratio: float = 1.0
    band: float | None = None
    known_runs: int | None = None
    order: Callable[[int, int], list[int]] = alternating


def speed_alarms(world: SpeedWorld, case: SpeedCase, replicates: int, random: Draw) -> float:
    """The share of comparisons that are called better or worse."""
    return fmean(_significant(_speed_effect(world, case, random), ALPHA) for _ in range(replicates))


def _speed_effect(world: SpeedWorld, case: SpeedCase, random: Draw) -> Effect:
    separate = None
    if case.runs == 1:
        before, after = world.run(random, 2, case.trials, case.order)
    else:
        before, after = (world.run(random, 1, case.trials, case.order)[0] for _ in range(2))
        known = case.known_runs
        separate = Separate(None if known is None else _calibrated(world, known, random))
    return compare_trials(
        before.tolist(),
        (case.ratio * after).tolist(),
        paired=case.runs == 1,
        band=case.band,
        separate=separate,
    )


def _calibrated(world: SpeedWorld, runs: int, random: Draw) -> RunVariance | None:
    # Two runs in each state, as `harness calibrate --spread`.
    return run_variance([world.run(random, 1, 2, alternating)[0].tolist() for _ in range(runs)])


def _significant(effect: Effect, alpha: float) -> bool:
    return effect.p is not None and effect.p <= alpha
