"""Error rates with earlier runs: of single seeds, of separate runs without a calibration, and of marks."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Final

from harness.analysis.over_time.series import marks, spread_band
from harness.analysis.stats.components import ALPHA
from harness.analysis.stats.machine_states import run_variance
from harness.analysis.stats.quality_tests import compare_quality
from harness.analysis.stats.ratios import Separate, compare_trials
from harness.analysis.stats.resampling import Case
from tools.simulate.rates import RESAMPLES
from tools.simulate.worlds import LABELS, Draw, QualityWorld, SpeedWorld, alternating

DROP: Final = 0.05
SLOWER: Final = 1.2
NOISE_BAND: Final = 0.03


def single_seeds(  # noqa: PLR0913 - a world, a question and a size, as every rate has
    world: QualityWorld,
    metric: str,
    seeds: int,
    replicates: int,
    random: Draw,
    *,
    change: float = 0.0,
    repeated: bool = False,
) -> float:
    """Return the share of comparisons of one seed per side that are called better or worse.

    Args:
        world: the classifiers.
        metric: the score.
        seeds: the number of seeds in the history.
        replicates: simulated comparisons.
        random: the random generator.
        change: the candidate's difference in expected accuracy.
        repeated: one of the history's seeds is the baseline's seed again, with the same predictions.
    """
    shift, cases = world.shift(change), []
    for _ in range(replicates):
        drawn, after = world.draw(random, seeds + 1, 1, shift)
        earlier = drawn[:seeds] if repeated else drawn[1:]
        cases.append(Case(metric, LABELS, drawn[:1], after, earlier=(earlier,), earlier_freedom=seeds - 1.0))
    effects = compare_quality(cases, resamples=RESAMPLES)
    return fmean(effect.p is not None and effect.p <= ALPHA for effect in effects)


def separate_runs(
    world: SpeedWorld, runs: int, trials: int, replicates: int, random: Draw, *, ratio: float = 1.0
) -> float:
    """Return the share of comparisons of two runs that are called better or worse, given `runs` earlier ones.

    Every run has the same number of `trials`. The candidate's times are the baseline's times `ratio`.
    """
    found = 0
    for _ in range(replicates):
        every = [world.run(random, 1, trials, alternating)[0].tolist() for _ in range(runs + 2)]
        before, after = every[0], [ratio * time for time in every[1]]
        known = run_variance(every[2:])
        p = compare_trials(before, after, paired=False, separate=Separate(known)).p
        found += p is not None and p <= ALPHA
    return found / replicates


def marked_series(
    points: int, replicates: int, random: Draw, *, step: float = 1.0, known: bool = True
) -> tuple[float, float]:
    """Return the share of series that get a mark, and of those marked once, at their step.

    The noise is normal, with a band of `NOISE_BAND`. The second half of each series is multiplied by `step`.

    Args:
        points: of each series.
        replicates: simulated series.
        random: the random generator.
        step: 1 for series without a change.
        known: the band is given; else it is that of the series itself.
    """
    width, middle = math.log1p(NOISE_BAND), points // 2
    spread = width / (1.96 * math.sqrt(2))
    some = exact = 0
    for _ in range(replicates):
        values = random.normal(0.0, spread, points)
        values[middle:] += math.log(step)
        logs = values.tolist()
        found = marks(logs, width if known else spread_band(logs) or width)
        confirmed = [each.at for each in found if not each.pending]
        some += bool(confirmed)
        exact += confirmed == [middle]
    return some / replicates, exact / replicates
