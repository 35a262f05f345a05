"""Plan: the trials that a run sets out to do, in order; two runs of one plan can continue each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness import __version__
from harness.model.assets import AssetsMode
from harness.model.frozen import Frozen, is_none
from harness.model.results import SCHEMA_VERSION
from harness.model.suite import Measure, Suite
from harness.model.trial import IDENTITY_VERSION, Trial

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Shard(Frozen):
    """The part of a plan that one run does: number `index` of `count`, from 1.

    `trials` are those of the whole plan and `digest` its digest, which all shards share.
    """

    index: Annotated[int, Field(ge=1)]
    count: Annotated[int, Field(ge=1)]
    digest: Digest
    trials: tuple[Trial, ...]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


class Plan(Frozen):
    """What a run sets out to do.

    `digest` is 64 hexadecimal digits over the ordered ids of the trials, how they are measured and where
    assets may come from, and the number of the shard: what two runs must share for one to continue the other.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    identity_version: Literal["v1"]
    harness_version: str
    suite: str
    assets: AssetsMode
    measure: Measure
    digest: Digest
    trials: tuple[Trial, ...]
    # Not written where there is none, so that earlier plans stay unchanged.
    shard: Annotated[Shard | None, Field(exclude_if=is_none)] = None

    @property
    def trial_ids(self) -> tuple[str, ...]:
        """The trials' ids, in the plan's order."""
        return tuple(trial.id for trial in self.trials)

    @property
    def whole(self) -> Plan:
        """The plan of which this is a shard, or this plan."""
        if self.shard is None:
            return self
        update = {"shard": None, "digest": self.shard.digest, "trials": self.shard.trials}
        return self.model_copy(update=update)

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if len(set(self.trial_ids)) < len(self.trials):
            raise ValueError("two trials of the plan have the same id")
        if self.digest != _digest(self.trials, self.measure, self.assets, self.shard):
            raise ValueError("the digest does not match the trials")
        shard = self.shard
        if shard is not None:
            if shard.digest != _digest(shard.trials, self.measure, self.assets, None):
                raise ValueError("the digest of the whole plan does not match its trials")
            own = [trial.id for trial in trials_of_shard(shard.trials, shard.index, shard.count)]
            if own != [*self.trial_ids]:
                raise ValueError(f"the trials are not those of shard {shard}")
        return self


def shard_number(trial_id: str, count: int) -> int:
    """Return the number of the shard that has a trial, from 1: it depends on the trial's id alone.

    >>> shard_number("00000000000000ff", 2), shard_number("00000000000000ff", 8)
    (2, 8)
    """
    return int(trial_id, 16) % count + 1


def trials_of_shard(trials: Sequence[Trial], index: int, count: int) -> tuple[Trial, ...]:
    """Return the trials of a plan that belong to a shard, in the plan's order."""
    return tuple(trial for trial in trials if shard_number(trial.id, count) == index)


def make_plan(
    suite: Suite, trials: Sequence[Trial], assets: AssetsMode, shard: tuple[int, int] | None = None
) -> Plan:
    """The plan of these trials of the suite, in this order.

    Args:
        suite: what they come from.
        trials: of the whole plan.
        assets: where these may come from.
        shard: its number and the count of shards, for a plan of its trials alone.

    Raises:
        ValueError: Two of the trials have the same id.
    """
    own, part = tuple(trials), None
    if shard is not None:
        whole = _digest(trials, suite.measure, assets, None)
        part = Shard(index=shard[0], count=shard[1], digest=whole, trials=own)
        own = trials_of_shard(trials, *shard)
    return Plan(
        identity_version=IDENTITY_VERSION,
        harness_version=__version__,
        suite=suite.name,
        assets=assets,
        measure=suite.measure,
        digest=_digest(own, suite.measure, assets, part),
        trials=own,
        shard=part,
    )


def _digest(trials: Sequence[Trial], measure: Measure, assets: AssetsMode, shard: Shard | None) -> str:
    parts = [IDENTITY_VERSION, [trial.id for trial in trials], measure.model_dump(mode="json"), assets]
    if shard is not None:
        parts.append([str(shard), shard.digest])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
