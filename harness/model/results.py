"""Measurement, TrialResult and Report: raw values are kept, every statistic is derived from them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, Field, field_validator, model_validator

from harness.model.assets import CheckpointSource, DataSource
from harness.model.environment import Environment
from harness.model.frozen import Frozen
from harness.model.metrics import METRICS, Goal
from harness.model.suite import Suite
from harness.model.trial import IDENTITY_VERSION, Trial

# Schema history:
# 1: the first.
SCHEMA_VERSION: Final = 1

Status = Literal[
    "completed", "failed", "oom", "diverged", "timeout", "killed", "interrupted", "unavailable", "pending"
]
Phase = Literal[
    "start",
    "load_data",
    "tokenize",
    "load_model",
    "roofline",
    "compile",
    "prove",
    "train",
    "evaluate",
    "write",
]


def _is_none(value: object) -> bool:
    # A field that was added later is left out where it is None, so that older reports stay what they were.
    return value is None


class Measurement(Frozen):
    """One metric of one trial. `values` are raw: one number, or one for each training step or pass.

    Empty `values` mean that it could not be measured, and then `reason` gives the cause. A metric of the
    table has the table's unit and goal, and values in its range.
    """

    metric: str
    unit: str
    goal: Goal
    values: tuple[float, ...]
    reason: str | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if bool(self.values) == (self.reason is not None):
            raise ValueError(f"{self.metric}: either values or a reason for having none")
        if (known := METRICS.get(self.metric)) is None:
            return self
        if self.unit != known.unit or self.goal != known.goal:
            raise ValueError(f"{self.metric}: its unit is {known.unit}, its goal {known.goal}")
        if len(self.values) == 1:
            _check_range(self.metric, self.values[0])
        elif self.values:
            if not known.several:
                raise ValueError(f"{self.metric}: {len(self.values)} values, where a trial has one")
            _check_range(self.metric, min(self.values))
            _check_range(self.metric, max(self.values))
        return self

    @property
    def median(self) -> float | None:
        """The median of the values, or None where there are none."""
        if not self.values:
            return None
        ordered = sorted(self.values)
        middle = len(ordered) // 2
        return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _check_range(metric: str, value: float) -> None:
    if not METRICS[metric].admits(value):
        raise ValueError(f"{metric}: {value:g} is impossible, it is {METRICS[metric].range}")


def measured(metric: str, *values: float) -> Measurement:
    """A measurement with values, its unit and goal from the table."""
    return Measurement(metric=metric, unit=METRICS[metric].unit, goal=METRICS[metric].goal, values=values)


def unmeasured(metric: str, reason: str) -> Measurement:
    """A measurement that could not be taken, and why."""
    return Measurement(
        metric=metric, unit=METRICS[metric].unit, goal=METRICS[metric].goal, values=(), reason=reason
    )


class Epoch(Frozen):
    """What one epoch ended with; `epoch` counts from 1, losses are in nats."""

    epoch: Annotated[int, Field(ge=1)]
    train_loss: float
    eval_loss: float
    eval_accuracy: float
    eval_f1: float
    eval_mcc: float

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        for metric in EPOCH_METRICS:
            _check_range(metric, getattr(self, metric))
        return self


EPOCH_METRICS: Final = tuple(name for name in Epoch.model_fields if name in METRICS)


class Predictions(Frozen):
    """The last evaluation, in data set order: everything can be scored again from it.

    `example_ids` (each one once) and `labels` (class numbers) have N entries, `logits` N rows of one number a
    class; N is at least 1.
    """

    example_ids: tuple[int, ...]
    labels: tuple[int, ...]
    logits: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        ids, labels, rows = len(self.example_ids), len(self.labels), len(self.logits)
        if not ids == labels == rows:
            raise ValueError(f"{ids} example_ids, {labels} labels and {rows} rows of logits")
        if not ids or not self.logits[0]:
            raise ValueError("the predictions are empty")
        classes = len(self.logits[0])
        if set(map(len, self.logits)) != {classes}:
            row = next(at for at, logits in enumerate(self.logits) if len(logits) != classes)
            length = len(self.logits[row])
            raise ValueError(f"row {row} of logits has {length} numbers, the first one has {classes}")
        if min(self.labels) < 0 or max(self.labels) >= classes:
            row = next(at for at, label in enumerate(self.labels) if not 0 <= label < classes)
            raise ValueError(
                f"label {self.labels[row]} of row {row} is none of the {classes} classes of the logits"
            )
        if len(set(self.example_ids)) < ids:
            raise ValueError("an example id occurs twice")
        return self


class Checkpoint(Frozen):
    """The model that was trained in fact.

    `columns` are the inputs its `forward` was given; `newly_initialized` and `unused` name weights that the
    checkpoint lacked and that the model did not want. `config_sha256` covers `config.json`,
    `tokenizer_sha256` the tokenizer's files; both are None in reports written before they were recorded.
    `allowed_weights` are those of both kinds outside the head that only the suite's `allow_weights` accepts.
    `attention` is the implementation that ran: `eager`, `sdpa` or `jagged`.
    """

    requested: str
    name: str
    source: CheckpointSource
    revision: str | None
    stand_in: bool
    weights_sha256: str
    config_sha256: Annotated[str | None, Field(exclude_if=_is_none)] = None
    tokenizer_sha256: Annotated[str | None, Field(exclude_if=_is_none)] = None
    attention: Annotated[str | None, Field(exclude_if=_is_none)] = None
    model_type: str
    parameters: int
    dtype: str
    columns: tuple[str, ...]
    columns_note: str | None = None
    newly_initialized: tuple[str, ...]
    unused: tuple[str, ...]
    allowed_weights: Annotated[tuple[str, ...], Field(exclude_if=lambda names: not names)] = ()


class Duplicates(Frozen):
    """Rows whose texts occur before: within the training split, within the evaluation split, across both.

    `leaked` counts evaluation rows whose texts are in the training split.
    """

    train: Annotated[int, Field(ge=0)]
    evaluation: Annotated[int, Field(ge=0)]
    leaked: Annotated[int, Field(ge=0)]


class Data(Frozen):
    """The data that was used in fact. `content_sha256` covers every text, label and id of both splits.

    `files_sha256` covers the files they were read from; older reports have it for folders alone.
    `published` tells whether the splits equal the published ones of that name, None where no digests of
    these are known.
    """

    requested: str
    name: str
    source: DataSource
    revision: str | None
    synthetic: bool
    content_sha256: str
    files_sha256: str | None = None
    published: Annotated[bool | None, Field(exclude_if=_is_none)] = None
    duplicates: Annotated[Duplicates | None, Field(exclude_if=_is_none)] = None
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    train_examples: Annotated[int, Field(ge=1)]
    eval_examples: Annotated[int, Field(ge=1)]
    eval_majority_share: Annotated[float, Field(gt=0, le=1)]
    max_length: Annotated[int, Field(ge=1)]
    longest: Annotated[int, Field(ge=1)]
    mean_length: Annotated[float, Field(gt=0)]
    truncated: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels: a class name occurs twice")
        if not self.mean_length <= self.longest <= self.max_length:
            raise ValueError(
                f"mean_length {self.mean_length:g}, longest {self.longest}, max_length {self.max_length}: "
                "each is at most the next"
            )
        examples = self.train_examples + self.eval_examples
        if self.truncated > examples:
            raise ValueError(f"truncated {self.truncated} of {examples} examples")
        return self


class Parity(Frozen):
    """How far a variant's function lies from the plain one's: same weights and rows, dropout off.

    The plain one is the library's own model, eager attention, padded, fp32. `largest_logit_difference` is
    absolute over all examples and classes; `relative_gradient_error` is |g - g0| / |g0| over all parameters
    after one step; `flipped_predictions` counts examples whose class differs.

    `tensor_gradient_error` is the largest relative error of one parameter's gradient and `tensor` the name of
    that parameter. `fp32` is the same variant computed in fp32, for a trial in a reduced precision. Reports
    written before these were recorded have None. `wrong_rows` counts rows whose token ids, types or label are
    not those of their texts.
    """

    examples: Annotated[int, Field(ge=1)]
    largest_logit_difference: Annotated[float, Field(ge=0)]
    relative_gradient_error: Annotated[float, Field(ge=0)]
    flipped_predictions: Annotated[int, Field(ge=0)]
    tensor_gradient_error: Annotated[float | None, Field(ge=0, exclude_if=_is_none)] = None
    tensor: Annotated[str | None, Field(exclude_if=_is_none)] = None
    fp32: Annotated[Parity | None, Field(exclude_if=_is_none)] = None
    wrong_rows: Annotated[int, Field(ge=0, exclude_if=lambda rows: rows == 0)] = 0

    @model_validator(mode="after")
    def _flips_are_differences(self) -> Self:
        if self.flipped_predictions > self.examples:
            raise ValueError(f"{self.flipped_predictions} flipped_predictions of {self.examples} examples")
        if self.flipped_predictions and not self.largest_logit_difference:
            raise ValueError("flipped_predictions without a logit that differs")
        return self


class Observed(Frozen):
    """What a training did, observed outside of its timed windows.

    Learning rates are those of the first and the last optimizer step. `dropped_share` is the share that
    dropout modules dropped of `dropout_elements` in the first forward pass and `dropout_rate` the mean of
    their rates, both None where no module drops; attention's dropout has no module that is called.
    `parameter_change` is the norm of the change of all parameters over their norm before, from at most 4,096
    elements of each tensor, and `unmoved` names tensors of which none of these changed. `training_mode` tells
    for each epoch whether every module was in training mode in its first forward pass.
    """

    optimizer_steps: Annotated[int, Field(ge=0)]
    first_learning_rate: float | None
    last_learning_rate: float | None
    dropped_share: float | None
    dropout_rate: float | None
    dropout_elements: int
    parameter_change: Annotated[float, Field(ge=0)]
    unmoved: tuple[str, ...]
    training_mode: tuple[bool, ...]


class TrainingCheck(Frozen):
    """One comparison of a proof of training: whether it passed, and what it found in words.

    `measured` is the difference that decided and `limit` the largest that passes; None where it is no number.
    """

    name: str
    passed: bool
    found: str
    measured: float | None = None
    limit: float | None = None


class TrainingProof(Frozen):
    """How an engine trains, against a reference that shares no code with it.

    `unproved` lists what the checks leave out.
    """

    checks: tuple[TrainingCheck, ...]
    unproved: tuple[str, ...] = ()


Rate = Annotated[float, Field(gt=0)]


class ProbeReading(Frozen):
    """Speed of the machine at one moment: a fixed matrix product, a fixed copy, the one-minute load average.

    `copy_bytes_per_second` counts bytes read and bytes written. The load average is None where the system
    keeps none.
    """

    matmul_flops_per_second: Rate
    copy_bytes_per_second: Rate
    load_average: Annotated[float, Field(ge=0)] | None = None


class Probe(Frozen):
    """Readings taken right before and right after the timed steps of a trial, on its device and threads.

    `work` describes the product and the copy; only readings of the same work may be compared.
    """

    work: str
    before: ProbeReading
    after: ProbeReading


class TrialResult(Frozen):
    """What one trial ended with. Times are in seconds, `started` is UTC.

    `degenerate` marks a completed trial that predicts a single class, or was scored on one. `reason` is a
    sentence for every status but `completed`; `log_tail` the end of the worker's log for those. `concurrent`
    is how many trials could be under way on its device at once: above 1, its times do not count. A proof of
    function is a result with `parity` and the logits of its examples, one of training has `training`.
    `probe` is None for proofs, for trials that ran beside others, and in reports written before it was
    recorded.
    """

    trial: Trial
    status: Status
    phase: Phase
    reason: str | None = None
    degenerate: bool = False
    epochs: tuple[Epoch, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    metric_version: str | None = None
    predictions: Predictions | None = None
    parity: Parity | None = None
    training: Annotated[TrainingProof | None, Field(exclude_if=_is_none)] = None
    observed: Annotated[Observed | None, Field(exclude_if=_is_none)] = None
    checkpoint: Checkpoint | None = None
    data: Data | None = None
    environment: Environment | None = None
    notes: tuple[str, ...] = ()
    log_tail: str = ""
    attempts: Annotated[int, Field(ge=1)] = 1
    # Not written where it is the default: a result from before it stays what it was.
    concurrent: Annotated[int, Field(ge=1, exclude_if=lambda at_once: at_once == 1)] = 1
    started: AwareDatetime
    duration_s: Annotated[float, Field(ge=0)]
    probe: Annotated[Probe | None, Field(exclude_if=_is_none)] = None

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        metrics = [found.metric for found in self.measurements]
        if len(set(metrics)) < len(metrics):
            twice = next(metric for metric in metrics if metrics.count(metric) > 1)
            raise ValueError(f"measurements: {twice} occurs twice")
        if [epoch.epoch for epoch in self.epochs] != list(range(1, len(self.epochs) + 1)):
            raise ValueError("epochs: they are not numbered 1, 2, 3 and so on")
        return self

    def __repr__(self) -> str:
        f1 = self.value("eval_f1")
        score = "" if f1 is None else f", eval_f1 {f1:.4f}"
        return f"<TrialResult {self.trial.id}: {self.status}{score}>"

    __str__ = __repr__

    def measurement(self, metric: str) -> Measurement | None:
        """The measurement of that name, if the trial has one."""
        return next((found for found in self.measurements if found.metric == metric), None)

    def value(self, metric: str) -> float | None:
        """The median of that metric's values, or None where it was not measured."""
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


class Report(Frozen):
    """What a run found, in one self-contained file. `results` has one entry for each trial of the plan.

    `proofs` has one result for each distinct function in the plan, with its parity; `training_proofs` one for
    each distinct way of training. Both are empty where the run was asked not to prove anything. `session` is
    None unless the run was one side of `harness ab`.

    `digest` is the file's alone: the SHA-256 of everything else in it, written by `to_json` and checked by
    `load_report`; a report in memory has none. Where it is null the file is unsealed: changes to it cannot
    be detected, and commands that decide refuse it unless they are asked to accept it.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    identity_version: Literal["v1"] = IDENTITY_VERSION
    harness_version: str
    run: str
    created: AwareDatetime
    suite: Suite
    environment: Environment
    notes: tuple[str, ...] = ()
    proofs: tuple[TrialResult, ...] = ()
    session: Annotated[Session | None, Field(exclude_if=_is_none)] = None
    # Not written where it is empty: reports from before it stay what they were.
    training_proofs: Annotated[tuple[TrialResult, ...], Field(exclude_if=lambda proofs: not proofs)] = ()
    results: tuple[TrialResult, ...]

    def __repr__(self) -> str:
        counts = Counter(result.status for result in self.results)
        states = ", ".join(f"{number} {status}" for status, number in counts.items())
        return f"<Report {self.suite.name} {self.run}: {states or 'no trials'}>"

    __str__ = __repr__

    @field_validator("suite")
    @classmethod
    def _holds_plain_json(cls, suite: Suite) -> Suite:
        # A matrix may hold anything that YAML can, and only here does it have to fit into JSON.
        json.dumps([suite.matrix, suite.include, suite.exclude], allow_nan=False, default=str)
        return suite

    @model_validator(mode="after")
    def _each_trial_once(self) -> Self:
        for kind, results in (("results", self.results), ("proofs", self.proofs)):
            counts = Counter(result.trial.id for result in results)
            if len(counts) < len(results):
                trial, times = counts.most_common(1)[0]
                raise ValueError(f"{kind}: trial {trial} occurs {times} times")
        return self
