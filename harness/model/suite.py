"""Models of a suite file; `reading` creates them from YAML, `matrix` expands them into trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from harness.model.arguments import Train
from harness.model.axis import Aka, canonical, written
from harness.model.frozen import Frozen, is_none
from harness.model.metrics import METRICS, OWN, is_metric, is_own, metric_named
from harness.model.tasks import Task, further_scores, scores_of
from harness.model.trial import AXES
from harness.words import did_you_mean, quoted

# Windows treats these as devices with any extension, and the name of a suite is used for a folder.
_DEVICE_FILES: Final = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10))]
)


def _names_no_device_file(name: str) -> str:
    if name.casefold() in _DEVICE_FILES:
        raise ValueError(f"{name} is a reserved file name on Windows; choose another")
    return name


def _is_metric(name: str) -> str:
    if not is_metric(name) or is_own(name):
        raise ValueError(f"there is no metric {quoted(name)}{did_you_mean(name, list(METRICS))}")
    return name


Name = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="1 to 64 letters, digits, - and _, the first a letter or digit",
    ),
    AfterValidator(_names_no_device_file),
]
PERCENTAGE: Final = r"^\d+(\.\d+)?%$"
Percentage = Annotated[
    str, Field(pattern=PERCENTAGE, description="a percentage of the baseline, such as 10%")
]
LONGEST_S: Final = 31_536_000
"""A year: the longest duration of any limit."""
Seconds = Annotated[float, Field(gt=0, le=LONGEST_S)]
WeightName = Annotated[str, Field(min_length=1, max_length=256)]
MetricName = Annotated[str, AfterValidator(_is_metric)]


def _can_be_gated(name: str) -> str:
    return name if is_metric(name) else _is_metric(name)


GatedName = Annotated[str, AfterValidator(_can_be_gated)]


class Measure(Frozen):
    """How trials are measured and how long they may take; all times in seconds.

    `warmup_steps` training steps at the start of a trial are left out of every rate and step time.
    `threads` is the number of CPU threads inside a trial; None means one for each physical core.
    `roofline` measures the peak rates of the machine, in one to two seconds, before a training if no
    measurement of the last minutes exists. `checkpoint_every` writes the state of a training after so many
    optimizer steps, outside of timed windows: an interrupted trial continues there instead of at its first
    step, and no speed is taken of it. A Ray cluster keeps no state.
    With `separate` the speed of a trial is measured in a short window of steps while no other trial runs, and
    its quality in a whole training while others run (`--jobs`). With `quality: once_per_function` variants
    with the same batches share one training for each seed, if proofs show that they compute the same function
    and train in the same way.
    """

    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    threads: Annotated[int, Field(ge=1, le=4_096)] | None = None
    trial_timeout_seconds: Annotated[Seconds | None, Aka(("timeout", "trial_timeout"))] = None
    start_timeout_seconds: Seconds = 300.0
    stall_timeout_seconds: Seconds = 900.0
    # Omit the default, so that earlier plans and reports stay unchanged.
    roofline: Annotated[bool, Field(exclude_if=bool)] = True
    checkpoint_every: Annotated[Annotated[int, Field(ge=1)] | None, Field(exclude_if=is_none)] = None
    separate: Annotated[bool, Field(exclude_if=lambda separate: not separate)] = False
    quality: Annotated[
        Literal["every_variant", "once_per_function"],
        Field(exclude_if=lambda quality: quality == "every_variant"),
    ] = "every_variant"

    @model_validator(mode="after")
    def _shares_with_windows(self) -> Self:
        if self.quality == "once_per_function" and not self.separate:
            raise ValueError(
                "quality once_per_function needs separate: true, which measures the speed of every variant"
            )
        return self


class Gate(Frozen):
    """A rule that a report must pass: bounds on a metric, or its largest drop against a baseline.

    `max_drop` is in the unit of the metric (`0.02`) or relative to the baseline (`10%`); a drop is a change
    for the worse. Only `max_drop` accepts a percentage. A metric of the suite's `metrics` is named by its
    label after `own.`, a score of a further `eval_split` with its split: `eval_validation_mismatched_f1`.
    `task` limits the rule to the trials of one task, such as `glue/cola`.
    """

    metric: GatedName
    min: float | None = None
    max: float | None = None
    max_drop: Annotated[float, Field(ge=0)] | Percentage | None = None
    task: Annotated[str | None, Field(exclude_if=is_none)] = None

    @model_validator(mode="after")
    def _can_be_passed_and_failed(self) -> Self:
        limits = {"min": self.min, "max": self.max, "max_drop": self.max_drop}
        if all(limit is None for limit in limits.values()):
            raise ValueError("a gate needs at least one of min, max and max_drop")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}: nothing can pass")
        if isinstance(self.max_drop, str) and float(self.max_drop[:-1]) > 100:
            raise ValueError(f"max_drop {self.max_drop} is more than all there is; at most 100%")
        metric = metric_named(self.metric)
        if self.max_drop is not None and metric.goal == "none" and not is_own(self.metric):
            raise ValueError(f"max_drop: no direction of {self.metric} is better, so it cannot drop")
        for key, limit in limits.items():
            if metric.unit == "ratio" and isinstance(limit, float) and abs(limit) > 1:
                raise ValueError(f"{key} {limit} is beyond 1: {self.metric} is a ratio, 86 % is written 0.86")
        return self


class OwnMetric(Frozen):
    """A user's metric: a Python file with one class derived from `evaluate.Metric`.

    `path` is relative to the folder where the command runs. Its `compute` gets predicted and true classes and
    returns a dictionary with one number; `goal` is the direction that is better. It is computed from the
    stored logits after the trials, in a process apart.
    """

    path: Annotated[str, Field(min_length=1, max_length=4_096)]
    goal: Literal["max", "min"]
    label: Annotated[str | None, Field(min_length=1, max_length=40, exclude_if=is_none)] = None

    @property
    def name(self) -> str:
        """The name in tables: the label, or the name of the file without its ending."""
        return self.label or PurePath(self.path).stem


def _names_differ(metrics: tuple[OwnMetric, ...]) -> tuple[OwnMetric, ...]:
    taken = {metric.label for metric in METRICS.values()}
    for metric in metrics:
        if metric.name in taken:
            raise ValueError(f"{quoted(metric.name)} is the name of another metric; set another label")
        taken.add(metric.name)
    return metrics


Value = Annotated[Any, PlainSerializer(written)]
Chosen = dict[str, Value]
"""Canonical values by axis name, for some of the axes."""


class Suite(Frozen):
    """One suite file, validated.

    `matrix`, `include` and `exclude` contain canonical values and are dumped in suite syntax. Values that
    no axis of this version accepts stay unchanged, so that reports of other versions can be read; `expand`
    rejects them.

    `allow_weights` names weights, with `*` as a wildcard, that may be missing from a checkpoint (and are then
    newly initialised) or unused, in addition to its classification head. `max_trials` is the size limit of a
    plan, checked before expansion.
    """

    name: Name
    task: Annotated[Task, Aka(("data", "dataset", "tasks"))] = Task()
    matrix: Annotated[
        dict[str, tuple[Value, ...]],
        Aka(("axes", "grid", "parameters", "params", "search_space", "sweep")),
    ]
    include: tuple[Chosen, ...] = ()
    exclude: tuple[Chosen, ...] = ()
    train: Annotated[
        Train, Aka(("hyperparameters", "trainer", "training", "training_args", "training_arguments"))
    ] = Train()
    measure: Annotated[Measure, Aka(("measurement", "timing"))] = Measure()
    # Omit the default, so that earlier reports stay unchanged.
    allow_weights: Annotated[tuple[WeightName, ...], Field(exclude_if=lambda names: not names)] = ()
    metrics: Annotated[
        tuple[OwnMetric, ...], AfterValidator(_names_differ), Field(exclude_if=lambda metrics: not metrics)
    ] = ()
    reference: dict[MetricName, float] = Field(default_factory=dict)
    gates: Annotated[tuple[Gate, ...], Aka(("checks", "thresholds", "rules"))] = ()
    max_trials: Annotated[int, Field(ge=1, le=100_000)] = 1_000

    @field_validator("matrix")
    @classmethod
    def _canonical_axes(cls, matrix: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        return {axis: tuple(_canonical(axis, value) for value in values) for axis, values in matrix.items()}

    @field_validator("reference")
    @classmethod
    def _refers_to_its_scores(cls, reference: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        for name, value in reference.items():
            _require_measured(name, info.data)
            metric = metric_named(name)
            if metric.family != "quality":
                raise ValueError(f"{name}: a reference is a published score, and this is none")
            if not metric.admits(value):
                percent = ", 86 % is written 0.86" if metric.unit == "ratio" else ""
                raise ValueError(f"{name} {value:g} is impossible: it is {metric.range}{percent}")
        if reference and len(tasks := _tasks_in(info.data)) > 1:
            raise ValueError(
                f"a reference has the numbers of one task, and the suite has {len(tasks)}; leave it out"
            )
        return reference

    @field_validator("gates")
    @classmethod
    def _gates_its_metrics(cls, gates: tuple[Gate, ...], info: ValidationInfo) -> tuple[Gate, ...]:
        for gate in gates:
            _require_measured(gate.metric, info.data)
            _require_scored(gate, _tasks_in(info.data))
        return gates

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of the trials: those of the axis `task` and of `include`, or the one of the suite."""
        return _tasks_in({name: getattr(self, name) for name in ("task", "matrix", "include")})

    def with_tasks(self, change: Callable[[Task], Task]) -> Suite:
        """Return the suite with every task in it changed."""

        def changed(value: Any) -> Any:
            return change(value) if isinstance(value, Task) else value

        def in_entries(entries: tuple[Chosen, ...]) -> tuple[Chosen, ...]:
            return tuple({axis: changed(value) for axis, value in entry.items()} for entry in entries)

        matrix = {axis: tuple(map(changed, values)) for axis, values in self.matrix.items()}
        entries = {"include": in_entries(self.include), "exclude": in_entries(self.exclude)}
        return self.model_copy(update={"task": change(self.task), "matrix": matrix, **entries})

    @field_validator("include", "exclude")
    @classmethod
    def _canonical_choices(cls, entries: tuple[Chosen, ...]) -> tuple[Chosen, ...]:
        return tuple({axis: _canonical(axis, value) for axis, value in entry.items()} for entry in entries)


def _tasks_in(suite: Mapping[str, Any]) -> tuple[Task, ...]:
    """Return the tasks of a suite by its validated keys."""
    chosen = suite.get("matrix", {}).get("task") or (suite.get("task"),)
    added = (entry["task"] for entry in suite.get("include", ()) if "task" in entry)
    # A report of another version can have values that are no tasks here.
    return tuple(dict.fromkeys(task for task in (*chosen, *added) if isinstance(task, Task)))


def _require_scored(gate: Gate, tasks: Sequence[Task]) -> None:
    """Refuse a gate of a task that the suite lacks, or on a score that a task does not have."""
    names = list(dict.fromkeys(task.name for task in tasks))
    rule = f"the gate on {gate.metric}"
    if gate.task is not None and gate.task not in names:
        near = did_you_mean(gate.task, names)
        raise ValueError(f"{rule}: the suite has no task {quoted(gate.task)}{near}")
    if len(tasks) == 1 or is_own(gate.metric) or metric_named(gate.metric).family != "quality":
        return
    for task in tasks:
        if gate.task in (None, task.name) and gate.metric not in scores_of(task):
            raise ValueError(f"{rule}: {task.name} has no such score; limit the gate to other tasks by task")


def _require_measured(name: str, suite: Mapping[str, Any]) -> None:
    """Refuse a metric that the suite does not declare, or a score of a split that it does not evaluate.

    A part of the suite that is invalid is not there, and reported already.
    """
    if name in METRICS or not {"task", "metrics"} <= suite.keys():
        return
    known = [*further_scores(_tasks_in(suite)), *(OWN + metric.name for metric in suite["metrics"])]
    if name not in known:
        instead = "; declare it in metrics" if is_own(name) else "; name its split in task.eval_split"
        what = f"the suite has no metric {quoted(name)}"
        raise ValueError(f"{what}{did_you_mean(name, known) or instead}")


def _canonical(name: str, value: Any) -> Any:
    axis = AXES.get(name)
    try:
        return value if axis is None else canonical(axis, value)
    except ValidationError:
        return value
