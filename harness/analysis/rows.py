"""The rows of a summary: the results of one variant over all its seeds.

Rank the variants of a report by speed, with significance tests.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from harness.analysis.parity import ParityVerdict
from harness.analysis.probes import Deviation
from harness.analysis.stats.components import ALPHA
from harness.analysis.stats.ratios import compare_trials
from harness.analysis.stats.tests import Effect, holm
from harness.analysis.training_verdicts import TrainingVerdict
from harness.model.observations import Apart
from harness.model.seeds import Seed
from harness.model.status import Phase, StatusName
from harness.model.trial import Trial

Rank = Literal["fastest", "tied"]
# The speed of each trial of a variant, by seed.
Speeds = Mapping[Seed, float]


def ranks(
    speeds: Mapping[str, Speeds], are_pairs: Callable[[str, str], bool] = lambda _one, _other: True
) -> dict[str, Rank]:
    """Rank the variants of one run that may be compared, from their speeds by seed.

    `are_pairs` returns whether the trials of two variants took turns: otherwise nothing separates them.

    A variant is `fastest` if every other one is significantly slower than it, paired by seed and
    adjusted by Holm. Otherwise it is `tied` with those that are not. No variant is ranked if there are fewer
    than two, or if no test is possible, as with one trial each.

    >>> ranks({"a": {0: 10.0, 1: 10.1, 2: 10.2}, "b": {0: 20.0, 1: 20.3, 2: 20.1}})
    {'b': 'fastest'}
    """
    if len(speeds) < 2:
        return {}
    best = max(speeds, key=lambda variant: median(speeds[variant].values()))
    others = [variant for variant in speeds if variant != best]
    effects = [
        speed_ratio(speeds[other], speeds[best]) if are_pairs(other, best) else None for other in others
    ]
    if all(effect is None or effect.p is None for effect in effects):
        return {}
    adjusted = holm([None if effect is None else effect.p for effect in effects])
    tied: dict[str, Rank] = {
        other: "tied" for other, each in zip(others, adjusted, strict=True) if each is None or each.p > ALPHA
    }
    return {best: "tied", **tied} if tied else {best: "fastest"}


def speed_ratio(slower: Speeds, faster: Speeds) -> Effect | None:
    """Return the ratio of the speeds, faster over slower, over common seeds; None with fewer than two."""
    seeds = sorted(slower.keys() & faster.keys())
    if len(seeds) < 2:
        return None
    return compare_trials([slower[seed] for seed in seeds], [faster[seed] for seed in seeds], paired=True)


def groups_of(places: Mapping[str, Hashable | None]) -> list[list[str]]:
    """Return the groups of comparable variants: those with the same place, without None."""
    groups: dict[Hashable, list[str]] = {}
    for variant, place in places.items():
        if place is not None:
            groups.setdefault(place, []).append(variant)
    return [group for group in groups.values() if len(group) > 1]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean over `n` seeds and their sample standard deviation (None for a single seed)."""

    mean: float
    spread: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why the trials with these seeds did not complete."""

    status: StatusName
    phase: Phase
    reason: str
    seeds: tuple[Seed, ...]


@dataclass(frozen=True, slots=True)
class Tokenizing:
    """Tokenising only: medians over the passes and seeds, and the largest memory increase."""

    seconds: float | None
    examples_per_second: float | None
    tokens_per_second: float | None
    added_memory_bytes: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One variant of a report.

    `quality` has the scores by metric name; it excludes the `degenerate` trials, which are counted.
    Rates and times are medians over the completed trials, step times (seconds) over all their steps;
    `peak_memory_bytes` is the largest of all trials. None: not measured; `unmeasured` has the seeds of the
    trials without a metric by its name and the reason. `concurrent` is the number of trials that could run at
    the same time: above 1, times are unusable.
    `rank` is `fastest`, or `tied` if the trials do not separate it from the fastest.
    `speed_range` is the smallest and the largest real tokens a second of several trials. `below_majority`
    counts trials that score below the share of the most frequent class.
    `against_reference` is the mean minus the suite's reference, by metric; empty for stand-ins.
    `noisy` maps seeds to trials during which the speed of the machine deviated from the rest of the run.
    `held_back` maps seeds to what lowered the clocks of the device, or which processes shared it.
    `parity` and `training` are the verdicts of its proofs. `unmoved` counts trials whose parameters did not
    change. `tokenizing` replaces all training fields if the trials only tokenise.
    `mixed` maps a condition to the differences of inputs between trials: then nothing is averaged.
    `apart` is how its trials were measured whose speed comes from a window; None for whole trainings.
    `trained` maps the names of other variants whose trainings gave its scores to the seeds of these.
    """

    variant: str
    label: str
    trial: Trial
    statuses: Mapping[StatusName, int]
    seeds: tuple[Seed, ...]
    failures: tuple[Failure, ...]
    degenerate: int
    quality: Mapping[str, Estimate]
    real_tokens_per_second: float | None
    samples_per_second: float | None
    step_seconds_median: float | None
    step_seconds_p95: float | None
    padding_efficiency: float | None
    train_seconds: float | None
    peak_memory_bytes: float | None
    peak_memory_of: Literal["device", "host"] | None
    model_flops_utilization: float | None
    unmeasured: Mapping[tuple[str, str], tuple[Seed, ...]]
    stand_in: str | None
    synthetic: bool
    against_reference: Mapping[str, float]
    rank: Rank | None
    speed_range: tuple[float, float] | None
    below_majority: int
    unmoved: int
    concurrent: int
    noisy: Mapping[Seed, Deviation] = field(default_factory=dict)
    held_back: Mapping[Seed, tuple[str, ...]] = field(default_factory=dict)
    tokenizing: Tokenizing | None = None
    mixed: Mapping[str, str] = field(default_factory=dict)
    apart: Apart | None = None
    trained: Mapping[str, tuple[Seed, ...]] = field(default_factory=dict)
    parity: ParityVerdict = "unproven"
    training: TrainingVerdict = "unproven"

    @property
    def fails_parity(self) -> bool:
        """Whether a proof shows another function."""
        return self.parity == "differs"

    @property
    def fails_training(self) -> bool:
        """Whether a proof shows another training than that of the reference."""
        return self.training == "differs"

    @property
    def completed(self) -> int:
        """The number of completed trials, including degenerate ones."""
        return self.statuses.get("completed", 0)

    @property
    def speed(self) -> float | None:
        """Real tokens per second of training or tokenising."""
        return self.tokenizing.tokens_per_second if self.tokenizing else self.real_tokens_per_second
