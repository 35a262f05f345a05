"""Rank the variants of a report by speed, with significance tests."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from statistics import median
from typing import Literal

from harness.analysis.stats.components import ALPHA
from harness.analysis.stats.ratios import compare_trials
from harness.analysis.stats.tests import Effect, holm

Rank = Literal["fastest", "tied"]
# The speed of each trial of a variant, by seed.
Speeds = Mapping[int, float]


def ranks(speeds: Mapping[str, Speeds]) -> dict[str, Rank]:
    """Rank the variants of one run that may be compared, from their speeds by seed.

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
    effects = [speed_ratio(speeds[other], speeds[best]) for other in others]
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
