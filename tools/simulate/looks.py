"""Runs that add seeds until their rows are decided: error rates of the whole procedure, and its seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.analysis.comparison.compared_rows import verdict_of_effect
from harness.analysis.comparison.look_table import Standing, take_look
from harness.analysis.stats.components import ALPHA
from harness.analysis.stats.quality_tests import compare_quality
from harness.analysis.stats.ratios import compare_trials
from harness.analysis.stats.resampling import Case
from harness.analysis.stats.sequential import look_sizes, nominal_level, repeated_p
from harness.analysis.stats.tests import Effect, holm
from harness.model.looks import Verdict
from harness.model.metrics import METRICS
from tools.simulate.rates import RESAMPLES
from tools.simulate.worlds import LABELS, Draw, Integers, QualityWorld, SpeedWorld, alternating

QUALITY: Final = ("eval_accuracy", "eval_f1")
SPEED: Final = "train_real_tokens_per_second"
# Predictions of so many simulated runs are in memory at once.
_AT_ONCE: Final = 50

Key = tuple[int, str]
"""The place of a candidate, and the metric."""


@dataclass(frozen=True)
class Tested:
    """A row of a simulated table."""

    effect: Effect
    metric: str
    margin: float | None

    def verdict_at(self, p: float | None, level: float) -> Verdict:
        """The verdict of the real comparison."""
        return verdict_of_effect(self.effect, p, METRICS[self.metric].goal, self.margin, level)


@dataclass(frozen=True)
class Suite:
    """A baseline and candidates whose accuracy differs from its by `changes`, with at most `most` seeds."""

    changes: tuple[float, ...]
    margin: float | None = 0.02
    most: int = 20
    world: QualityWorld = field(default_factory=QualityWorld)

    def draw(self, random: Draw) -> list[Integers]:
        """Predictions of the baseline and of each candidate, (most, N)."""
        shifts = [0.0, *map(self.world.shift, self.changes)]
        return self.world.draw_several(random, self.most, shifts)


@dataclass
class Replay:
    """A simulated run: the standings of its rows, and the seeds that each variant used."""

    sides: list[Integers]
    standings: dict[Key, Standing] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)

    @property
    def open(self) -> list[int]:
        """The candidates with an open row; all of them before the first look."""
        if not self.standings:
            return list(range(1, len(self.sides)))
        return sorted({at for (at, _), each in self.standings.items() if each.verdict == "unsure"})

    def use(self, size: int) -> None:
        """Count the seeds of the variants that run in a look."""
        self.seeds = self.seeds or [0] * len(self.sides)
        for at in (0, *self.open) if self.open else ():
            self.seeds[at] = size


def replays(suite: Suite, replicates: int, random: Draw) -> Iterator[Replay]:
    """Simulate runs until decided, all rows by the functions of a real comparison."""
    for start in range(0, replicates, _AT_ONCE):
        runs = [Replay(suite.draw(random)) for _ in range(min(_AT_ONCE, replicates - start))]
        for at, size in enumerate(look_sizes(suite.most)):
            for run in runs:
                run.use(size)
            tables = _tables(runs, suite.margin, size)
            for run, rows in zip(runs, tables, strict=True):
                if rows:
                    run.standings = take_look(rows, run.standings, look_sizes(suite.most), at)
        yield from runs


def _tables(runs: Sequence[Replay], margin: float | None, size: int) -> list[dict[Key, Tested]]:
    """Return the rows of the open candidates of each run at this number of seeds."""
    places = [(run, at, metric) for run in runs for at in run.open for metric in QUALITY]
    cases = [Case(metric, LABELS, run.sides[0][:size], run.sides[at][:size]) for run, at, metric in places]
    effects = compare_quality(cases, resamples=RESAMPLES)
    tables: dict[int, dict[Key, Tested]] = {id(run): {} for run in runs}
    for (run, at, metric), effect in zip(places, effects, strict=True):
        tables[id(run)][at, metric] = Tested(effect, metric, margin)
    return [tables[id(run)] for run in runs]


def _looked(candidates: int, most: int, tested: Callable[[int, int], Tested]) -> dict[int, Standing]:
    """Return the standings of a run; `tested` gives the row of a candidate at a number of seeds."""
    standings: dict[int, Standing] = {}
    rows = list(range(candidates))
    for at, size in enumerate(look_sizes(most)):
        standings = take_look({row: tested(row, size) for row in rows}, standings, look_sizes(most), at)
        rows = [row for row, each in standings.items() if each.verdict == "unsure"]
        if not rows:
            break
    return standings


@dataclass(frozen=True)
class Scores:
    """Candidates whose scores over seeds are normal, each against one baseline, without resampling.

    `sd` is the standard deviation over seeds of each side, `change` that of the candidates' expected score.
    """

    candidates: int = 6
    sd: float = 0.012
    change: float = 0.0
    margin: float | None = 0.02
    most: int = 20

    def rates(self, replicates: int, random: Draw) -> tuple[float, float]:
        """Return the shares of runs with a row called better or worse, and of rows called the same."""
        sides = random.normal(0, self.sd, (replicates, self.candidates + 1, self.most))
        gaps = sides[:, 1:] - sides[:, :1] + self.change
        smallest = np.ones(gaps.shape[:2])
        alarms, same = np.zeros(replicates, bool), np.zeros(gaps.shape[:2], bool)
        sizes = look_sizes(self.most)
        for at, size in enumerate(sizes):
            means = gaps[..., :size].mean(axis=2)
            errors = gaps[..., :size].std(axis=2, ddof=1) / np.sqrt(size)
            p = 2 * special.stdtr(size - 1, -np.abs(means) / errors)
            repeated = [repeated_p(float(each), sizes, at, 2) for each in p.ravel()]
            smallest = np.where(same, smallest, np.minimum(smallest, np.reshape(repeated, p.shape)))
            # The first step of Holm's procedure: without any rejection there is no second one.
            alarms |= smallest.min(axis=1) <= ALPHA / self.candidates
            if self.margin is not None:
                outer = special.stdtr(size - 1, (np.abs(means) - self.margin) / errors)
                inside = outer <= nominal_level(sizes, at, ALPHA, 1)
                same |= inside & (smallest > ALPHA / self.candidates)
        return float(alarms.mean()), float(same.mean())


def speed_alarms(world: SpeedWorld, candidates: int, most: int, replicates: int, random: Draw) -> float:
    """Return the share of runs of equally fast variants in which any is called faster or slower."""
    found = []
    for _ in range(replicates):
        times = world.run(random, candidates + 1, most, alternating)

        def tested(row: int, size: int, times: NDArray[np.float64] = times) -> Tested:
            sides = times[0, :size].tolist(), times[row + 1, :size].tolist()
            return Tested(compare_trials(*sides, paired=True), SPEED, None)

        standings = _looked(candidates, most, tested)
        found.append(any(each.verdict in ("better", "worse") for each in standings.values()))
    return fmean(found)


@dataclass(frozen=True)
class Saved:
    """Runs until decided against a fixed design of as many seeds as their last look.

    `seeds` is the mean share of its trials, `equal` the share of rows with the same verdict, `open` that of
    rows without one in the runs until decided, `fixed_open` that in the fixed design, and `opposite` that of
    rows with contradicting verdicts.
    """

    seeds: float
    equal: float
    open: float
    fixed_open: float
    opposite: float


def saved(suite: Suite, replicates: int, random: Draw) -> Saved:
    """Replay the same simulated results with and without looks."""
    shares, pairs = [], []
    for run in replays(suite, replicates, random):
        shares.append(sum(run.seeds) / (suite.most * len(run.sides)))
        fixed = _fixed(run, suite)
        pairs += [(each.verdict, fixed[key]) for key, each in run.standings.items()]
    return Saved(
        seeds=fmean(shares),
        equal=fmean(looked == fixed for looked, fixed in pairs),
        open=fmean(looked == "unsure" for looked, _ in pairs),
        fixed_open=fmean(fixed == "unsure" for _, fixed in pairs),
        opposite=fmean(looked != fixed and "unsure" not in (looked, fixed) for looked, fixed in pairs),
    )


def _fixed(run: Replay, suite: Suite) -> dict[Key, Verdict]:
    every = Replay(run.sides)
    (rows,) = _tables([every], suite.margin, suite.most)
    adjusted = holm([row.effect.p for row in rows.values()])
    return {
        key: row.verdict_at(None if each is None else each.p, ALPHA)
        for (key, row), each in zip(rows.items(), adjusted, strict=True)
    }
