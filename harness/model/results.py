"""TrialResult and Report: raw values are kept, every statistic is derived from them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, Field, field_validator, model_validator

from harness.model.assets import Checkpoint, Data
from harness.model.environment import Environment
from harness.model.frozen import Frozen, is_none
from harness.model.looks import Looks
from harness.model.measurements import Measurement, Measurements, PackedMeasurements, reasons_of
from harness.model.metrics import metric_named
from harness.model.observations import Apart, Observed, Probe
from harness.model.proof import Parity, TrainingProof
from harness.model.quality import Epoch, OwnScores, Predictions
from harness.model.rich_display import Shown, made
from harness.model.status import Phase, StatusName
from harness.model.suite import Suite
from harness.model.trial import IDENTITY_VERSION, Trial

# Schema history:
# 1: the first.
# 2: the scores of an epoch are a mapping by metric name.
SCHEMA_VERSION: Final = 2


class TrialResult(Frozen):
    """What one trial ended with. Times are in seconds, `started` is UTC.

    `degenerate` marks a completed trial that predicts a single class, or was scored on one. `reason` is a
    sentence for every status but `completed`; `log_tail` the end of the worker's log for those. `concurrent`
    is how many trials could be under way on its device at once: above 1, its times do not count. A proof of
    function is a result with `parity` and the logits of its examples, one of training has `training`.
    `reused` marks a proof that an earlier run made under the same conditions. `probe` is None for proofs, for
    trials that ran while others did, and in reports written before it was recorded. `apart` is None where one
    training gave speed and quality; else `concurrent` is that of the timed steps.
    """

    trial: Trial
    status: StatusName
    phase: Phase
    reason: str | None = None
    degenerate: bool = False
    epochs: tuple[Epoch, ...] = ()
    measurements: Measurements = ()
    metric_version: str | None = None
    predictions: Predictions | None = None
    parity: Parity | None = None
    training: Annotated[TrainingProof | None, Field(exclude_if=is_none)] = None
    observed: Annotated[Observed | None, Field(exclude_if=is_none)] = None
    checkpoint: Checkpoint | None = None
    data: Data | None = None
    environment: Environment | None = None
    notes: tuple[str, ...] = ()
    log_tail: str = ""
    attempts: Annotated[int, Field(ge=1)] = 1
    # Not written where it is the default: a result from before it stays what it was.
    concurrent: Annotated[int, Field(ge=1, exclude_if=lambda concurrent: concurrent == 1)] = 1
    started: AwareDatetime
    duration_s: Annotated[float, Field(ge=0)]
    probe: Annotated[Probe | None, Field(exclude_if=is_none)] = None
    apart: Annotated[Apart | None, Field(exclude_if=is_none)] = None
    reused: Annotated[bool, Field(exclude_if=lambda reused: not reused)] = False

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        metrics = self.metrics
        if len(set(metrics)) < len(metrics):
            twice = next(metric for metric, times in Counter(metrics).items() if times > 1)
            raise ValueError(f"measurements: {twice} occurs twice")
        if [epoch.epoch for epoch in self.epochs] != list(range(1, len(self.epochs) + 1)):
            raise ValueError("epochs: they are not numbered 1, 2, 3 and so on")
        # A constant output has no correlation, so that an epoch may lack it.
        named = {
            tuple(name for name in epoch.scores if not metric_named(name).correlates) for epoch in self.epochs
        }
        if len(named) > 1:
            raise ValueError("epochs: their scores are not of the same metrics")
        return self

    @property
    def sound(self) -> bool:
        """Whether the trial completed and its scores count: a degenerate one predicts a single class."""
        return self.status == "completed" and not self.degenerate

    def __repr__(self) -> str:
        f1 = self.value("eval_f1")
        score = "" if f1 is None else f", eval_f1 {f1:.4f}"
        return f"<TrialResult {self.trial.id}: {self.status}{score}>"

    __str__ = __repr__

    @property
    def metrics(self) -> Collection[str]:
        """The name of each measured metric, in order."""
        if isinstance(self.measurements, PackedMeasurements):
            return self.measurements.metrics
        return [found.metric for found in self.measurements]

    def measurement(self, metric: str) -> Measurement | None:
        """Return the measurement of that metric, or None if the trial has none."""
        if isinstance(self.measurements, PackedMeasurements):
            return self.measurements.named(metric)
        for found in self.measurements:
            if found.metric == metric:
                return found
        return None

    def values(self, metric: str) -> Sequence[float]:
        """Return that metric's values, empty where it was not measured."""
        if isinstance(self.measurements, PackedMeasurements):
            return self.measurements.values(metric)
        found = self.measurement(metric)
        return () if found is None else found.values

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why metrics could not be measured, by metric, in order."""
        if isinstance(self.measurements, PackedMeasurements):
            return self.measurements.reasons
        return reasons_of(self.measurements)

    def value(self, metric: str) -> float | None:
        """Return the median of that metric's values, or None where it was not measured."""
        if isinstance(self.measurements, PackedMeasurements):
            return self.measurements.median(metric)
        found = self.measurement(metric)
        return None if found is None else found.median


class Session(Frozen):
    """The A/B session of which a report is one side: trials of both sides ran in turn on one machine.

    `id` is the same in the reports of both sides. `apart` names the axes in which the sides' suites differ
    by intent. `positions` has the place of each trial of `results` in the queue of the session, from 0.
    """

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    side: Literal["base", "candidate"]
    apart: tuple[str, ...] = ()
    positions: tuple[Annotated[int, Field(ge=0)], ...]


UNSEALED: Final = "read from a file without a digest: changes to its numbers cannot be detected"
"""The note of a report that was read from such a file."""


class Report(Shown, Frozen):
    """The results of a run, in one self-contained file. `results` has one entry for each trial of the plan.

    `proofs` has one result for each distinct function in the plan, with its parity; `training_proofs` one for
    each distinct way of training. Both are empty where the run was asked not to prove anything. `session` is
    None unless the run was one side of `harness ab`. `own_metrics` are the scores by the suite's `metrics`.
    `looks` is None unless the run added seeds until its rows were decided; `results` then has the trials that
    were asked for.

    `digest` is the file's alone: the SHA-256 of everything else in it, written by `to_json` and checked by
    `load_report`; a report in memory has none. Where it is null the file is unsealed: changes to it cannot
    be detected, and commands that decide refuse it unless they are asked to accept it.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    identity_version: Literal["v1"] = IDENTITY_VERSION
    harness_version: str
    run: str
    created: AwareDatetime
    suite: Suite
    environment: Environment
    notes: tuple[str, ...] = ()
    proofs: tuple[TrialResult, ...] = ()
    session: Annotated[Session | None, Field(exclude_if=is_none)] = None
    looks: Annotated[Looks | None, Field(exclude_if=is_none)] = None
    own_metrics: Annotated[tuple[OwnScores, ...], Field(exclude_if=lambda found: not found)] = ()
    # Not written where it is empty: reports from before it stay what they were.
    training_proofs: Annotated[tuple[TrialResult, ...], Field(exclude_if=lambda proofs: not proofs)] = ()
    results: tuple[TrialResult, ...]

    def to_frame(self) -> Any:
        """Return one row a trial, with the columns of the CSV format: a pandas DataFrame, or an Arrow table.

        Raises:
            UnavailableError: neither pandas nor pyarrow is installed.
        """
        return made("trials", self)

    def steps_frame(self) -> Any:
        """Return one row a timed step, as `to_frame` does."""
        return made("steps", self)

    def predictions_frame(self) -> Any:
        """Return one row a trial and example with label, prediction and logits, as `to_frame` does."""
        return made("predictions", self)

    def __repr__(self) -> str:
        counts = Counter(result.status for result in self.results)
        states = ", ".join(f"{number} {status}" for status, number in counts.items())
        return f"<Report {self.suite.name} {self.run}: {states or 'no trials'}>"

    __str__ = __repr__

    @field_validator("suite")
    @classmethod
    def _is_plain_json(cls, suite: Suite) -> Suite:
        # A matrix can contain any YAML value, but a report must be valid JSON.
        json.dumps([suite.matrix, suite.include, suite.exclude], allow_nan=False, default=str)
        return suite

    @model_validator(mode="after")
    def _each_trial_once(self) -> Self:
        for kind in ("results", "proofs", "training_proofs"):
            results: tuple[TrialResult, ...] = getattr(self, kind)
            counts = Counter(result.trial.id for result in results)
            if len(counts) < len(results):
                trial, times = counts.most_common(1)[0]
                raise ValueError(f"{kind}: trial {trial} occurs {times} times")
        return self

    def variants(self) -> dict[str, tuple[TrialResult, ...]]:
        """Return the results by variant id, in the order of the plan."""
        found: dict[str, list[TrialResult]] = {}
        for result in self.results:
            found.setdefault(result.trial.variant_id, []).append(result)
        return {variant: tuple(results) for variant, results in found.items()}
