"""Speed and other numbers of whole trials: a ratio of medians, tested by a t test of logarithms.

Between two runs the machine may change by more than the trials of one run scatter: the error of a comparison
across runs is known only if the variance between runs is (`RunVariance`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from harness.analysis.stats.components import Components, Part
from harness.analysis.stats.scoring import Floats
from harness.analysis.stats.tests import Effect

_LARGEST_RATIO: Final = math.exp(100.0)
# The standard normal quantile at 97.5 %: a band covers 95 % of the ratios of equal runs.
_COVERAGE: Final = 1.959964
# Equal ratios of different numbers differ by rounding errors, which are not scatter.
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class RunVariance:
    """The variance of the logarithm of a metric between runs on one machine.

    `variance` is that of the mean over the trials of a run, estimated from `runs` runs separated in time (one
    more than the degrees of freedom). `of_trials` is the part of the variance of a single trial that these
    means average out: 0 if each run had one trial.
    """

    variance: float
    runs: int
    of_trials: float = 0.0


@dataclass(frozen=True, slots=True)
class Separate:
    """Both sides come from separate runs.

    `variance` is None if it was never measured. `changed` states that the probes show different machine
    speeds in the two runs: then no variance of equal runs allows a verdict.
    """

    variance: RunVariance | None = None
    changed: str | None = None


def compare_trials(
    baseline: Sequence[float],
    candidate: Sequence[float],
    *,
    paired: bool,
    band: float | None = None,
    separate: Separate | None = None,
) -> Effect:
    """Return the ratio of medians, candidate over baseline, from one positive number per trial.

    Args:
        baseline: one number for each trial.
        candidate: the same for the candidate.
        paired: both sequences have the same seeds in the same order, run next to each other, so that drift
            affects both equally.
        band: the relative noise of single runs on this machine: 95 % of the ratios of two equal runs are at
            most `1 + band`. A significant effect must exceed the noise of the number of compared trials.
        separate: given if the two sides are separate runs.

    >>> effect = compare_trials([1.00, 1.02, 0.98], [0.80, 0.81, 0.79], paired=True)
    >>> effect.value, effect.p < 0.05
    (0.8, True)
    """
    before, after = np.asarray(baseline, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    if min(before.min(), after.min()) <= 0:
        raise ValueError("a ratio needs numbers above zero")
    trials = min(before.size, after.size)
    logs = np.log(before), np.log(after)
    effect = Effect(
        float(np.median(after) / np.median(before)),
        ratio=True,
        center=float(logs[1].mean() - logs[0].mean()),
        bounds=(0.0, math.inf),
        reach=_LARGEST_RATIO,
        trials=trials,
    )
    if separate is not None and separate.changed is not None:
        return replace(effect, reason=separate.changed)
    if np.array_equal(before, after) and np.ptp(before) > 0:
        return replace(effect, reason="both sides have the same number in every trial", identical=True)
    if np.ptp(before) == 0 and np.ptp(after) == 0 and trials > 1:
        return _constant(effect, identical=bool(before[0] == after[0]))
    return _tested(effect, logs, paired=paired, band=band, separate=separate)


def _constant(effect: Effect, *, identical: bool) -> Effect:
    why = "both are constant and equal" if identical else "neither side varies"
    lacks: Literal["scatter"] | None = None if identical else "scatter"
    return replace(effect, reason=f"{why}: no interval and no p-value", identical=identical, lacks=lacks)


def _tested(
    effect: Effect,
    logs: tuple[Floats, Floats],
    *,
    paired: bool,
    band: float | None,
    separate: Separate | None,
) -> Effect:
    lacks: Literal["runs"] | None = "runs" if separate is not None and separate.variance is None else None
    if effect.trials == 1:
        if separate is not None and separate.variance is not None:
            return _single(
                effect, separate.variance, _floor(band, [side.size for side in logs], paired=False)
            )
        return replace(effect, reason="one trial: no interval, not a test", lacks=lacks)
    if lacks:
        return replace(
            effect,
            reason="two separate runs: how much equal runs differ on this machine is unknown, "
            "so their speeds are not tested",
            lacks=lacks,
        )
    between = _between(*logs, paired=paired)
    if between.variance == 0:
        return replace(effect, reason="every pair has the same ratio: no p-value", lacks="scatter")
    counts = tuple(side.size for side in logs)
    floor = _floor(band, counts, paired=paired)
    added = _added(separate)
    components = Components(
        between,
        added,
        floor=floor,
        least=floor,
        most_freedom=min((part.freedom for part in added), default=math.inf),
    )
    kind = "paired t of logarithms" if paired else "Welch's t of logarithms"
    test = kind if separate is None else f"{kind} with the variance between runs"
    return replace(effect, test=test, components=components)


def _single(effect: Effect, known: RunVariance, floor: float) -> Effect:
    """Test single trials of separate runs, whose whole variance comes from other runs."""
    whole = Part(2 * (known.variance + known.of_trials), known.runs - 1.0)
    if whole.variance == 0:
        return replace(effect, reason="equal runs on this machine have never differed: no p-value")
    # `added` instead of `between`: more trials of the same two runs do not reduce it.
    components = Components(Part(0.0, whole.freedom), (whole,), floor=floor, most_freedom=whole.freedom)
    return replace(effect, test="t of logarithms with the variance between runs", components=components)


def _between(before: Floats, after: Floats, *, paired: bool) -> Part:
    """Return the variance of the mean log ratio and its freedom (Welch-Satterthwaite if unpaired)."""
    if paired:
        gaps = after - before
        spread = float(gaps.std(ddof=1))
        return Part(spread**2 / gaps.size if spread > _ROUNDING else 0.0, gaps.size - 1.0)
    parts = [float(side.var(ddof=1)) / side.size for side in (before, after)]
    uncertainty = sum(part**2 / (side.size - 1) for part, side in zip(parts, (before, after), strict=True))
    total = sum(parts)
    return Part(total, total**2 / uncertainty if uncertainty > 0 else 1.0)


def _floor(band: float | None, counts: Sequence[int], *, paired: bool) -> float:
    """Return the variance of a mean log ratio over these numbers of trials of equal runs."""
    if not band:
        return 0.0
    of_a_pair = (math.log1p(band) / _COVERAGE) ** 2
    if paired:
        return of_a_pair / counts[0]
    return of_a_pair / 2 * sum(1 / count for count in counts)


def _added(separate: Separate | None) -> tuple[Part, ...]:
    """Return the variance between the two runs: one state of the machine per side."""
    if separate is None or separate.variance is None:
        return ()
    known = separate.variance
    return (Part(2 * known.variance, known.runs - 1.0),)
