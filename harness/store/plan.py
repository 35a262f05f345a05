"""Plan: the trials that a run sets out to do, in order; two runs of one plan can continue each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness import __version__
from harness.model.assets import AssetsMode
from harness.model.frozen import Frozen
from harness.model.results import SCHEMA_VERSION
from harness.model.suite import Measure, Suite
from harness.model.trial import IDENTITY_VERSION, Trial


class Plan(Frozen):
    """What a run sets out to do.

    `digest` is 64 hexadecimal digits over the ordered ids of the trials, how they are measured and where
    assets may come from: what two runs must share for one to continue the other.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    identity_version: Literal["v1"]
    harness_version: str
    suite: str
    assets: AssetsMode
    measure: Measure
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    trials: tuple[Trial, ...]

    @property
    def trial_ids(self) -> tuple[str, ...]:
        """The trials' ids, in the plan's order."""
        return tuple(trial.id for trial in self.trials)

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if len(set(self.trial_ids)) < len(self.trials):
            raise ValueError("two trials of the plan have the same id")
        if self.digest != _digest(self.trials, self.measure, self.assets):
            raise ValueError("the digest does not match the trials")
        return self


def make_plan(suite: Suite, trials: Sequence[Trial], assets: AssetsMode) -> Plan:
    """The plan of these trials of the suite, in this order.

    Raises:
        ValueError: Two of the trials have the same id.
    """
    return Plan(
        identity_version=IDENTITY_VERSION,
        harness_version=__version__,
        suite=suite.name,
        assets=assets,
        measure=suite.measure,
        digest=_digest(trials, suite.measure, assets),
        trials=tuple(trials),
    )


def _digest(trials: Sequence[Trial], measure: Measure, assets: AssetsMode) -> str:
    parts = [IDENTITY_VERSION, [trial.id for trial in trials], measure.model_dump(mode="json"), assets]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
