"""Expand a suite to trials: the product of the axes without `exclude`, plus the products of `include`."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from harness.errors import InvalidInputError
from harness.model.arguments import Train, settings_problem
from harness.model.axis import Axis, axes_of, canonical, label, text, trial_fields
from harness.model.suite import Suite
from harness.model.tasks import Task
from harness.model.trial import Trial
from harness.suite.axis_checks import TOKENIZATION, refuse_broken_rules
from harness.words import quoted

MOST_TRIALS: Final = 100_000

Condition = dict[str, Hashable]
"""A canonical value for each axis in use, always in the same order of axes, the seed first."""


def count_trials(suite: Suite, devices: int) -> int:
    """Return how many trials the matrix and `include` give on a number of devices, before `exclude`."""
    counts = {axis: _count(axis, values, devices) for axis, values in suite.matrix.items()}
    added = (
        math.prod(count for axis, count in counts.items() if axis not in entry)
        * (devices if entry.get("device") == "all" else 1)
        for entry in suite.include
    )
    return math.prod(counts.values()) + sum(added)


def _count(axis: str, values: Sequence[object], devices: int) -> int:
    return sum(devices if axis == "device" and value == "all" else 1 for value in values)


def too_many(count: int, most: int) -> str:
    """Return the message for a plan that exceeds its limit, with how to raise the limit."""
    how = f"; max_trials raises the limit, up to {MOST_TRIALS:,}" if most < MOST_TRIALS else ""
    return f"{count:,} trials > max {most:,} (counted before exclude){how}"


def expand(suite: Suite, devices: Sequence[str], trial: type[Trial] = Trial) -> tuple[Trial, ...]:
    """Return the trials of a suite on a machine: seeds outermost, every second seed's variants in reverse.

    Over two seeds every variant has the same mean position in the queue of its device, so that drift of the
    machine during a run adds noise but no bias. A fixed order would bias the last variants.

    Args:
        suite: The suite, with canonical values.
        devices: The devices of the machine, best first: `auto` is the first and `all` each of them. A device
            that the suite names stays in the plan even if the machine lacks it.
        trial: The model whose fields declare the axes.

    Raises:
        InvalidInputError: Too many trials, a duplicate, no trial left, or an impossible combination.
    """
    count = count_trials(suite, len(devices))
    if count > suite.max_trials:
        raise InvalidInputError(
            f"suite {suite.name}: {too_many(count, suite.max_trials)}",
            hint="Or shorten an axis of the matrix.",
        )
    axes = axes_of(trial)
    _refuse_foreign(suite, axes)
    conditions = list(_conditions(suite, axes, devices))
    if not conditions:
        raise InvalidInputError(f"suite {suite.name}: exclude leaves no trial", hint="Remove an exclude.")
    _refuse_duplicates(suite, axes, conditions)
    train = {name: default_of(axis, suite) for name, axis in axes.items() if name.startswith("train.")}
    refuse_broken_rules(suite.name, conditions, axes, train)
    trials = tuple(_trials(suite, axes, _in_turns(conditions), trial))
    if len(suite.tasks) > 1:
        _refuse_equal_ids(suite.name, trials)
    return trials


def _refuse_equal_ids(name: str, trials: Sequence[Trial]) -> None:
    """Raise for tasks that differ in what no trial's identity contains, such as their folders."""
    tasks: dict[str, Task] = {}
    for trial in trials:
        if (first := tasks.setdefault(trial.id, trial.task)) != trial.task:
            raise InvalidInputError(
                f"suite {name}: two tasks are both {first.name}, and no setting but data_dir or max_classes "
                "tells them apart",
                hint="Give each its own name by dataset.",
            )


def _in_turns(conditions: Sequence[Condition]) -> Iterator[Condition]:
    """Yield the conditions by seed, those of every second seed in reverse."""
    by_seed: dict[Hashable, list[Condition]] = {}
    for condition in conditions:
        by_seed.setdefault(condition["seed"], []).append(condition)
    for place, group in enumerate(by_seed.values()):
        yield from reversed(group) if place % 2 else group


def _refuse_foreign(suite: Suite, axes: Mapping[str, Axis]) -> None:
    """Reject unknown axes and values in a suite that was not read from a file of this version."""
    chosen = [(name, value) for entry in (*suite.include, *suite.exclude) for name, value in entry.items()]
    chosen += [(name, value) for name, values in suite.matrix.items() for value in values]
    for name, value in chosen:
        if name not in axes:
            raise InvalidInputError(
                f"suite {suite.name}: unknown axis {quoted(name)}", hint=f"Axes: {', '.join(axes)}"
            )
        try:
            canonical(axes[name], value)
        except ValidationError as error:
            what = error.errors(include_url=False)[0]["msg"]
            raise InvalidInputError(
                f"suite {suite.name}: the axis {name}: {what}",
                hint="Write the suite as a file: the error then names its line.",
            ) from None
    if missing := [name for name, axis in axes.items() if axis.required and name not in suite.matrix]:
        raise InvalidInputError(
            f"suite {suite.name}: the axis {missing[0]} is missing in matrix",
            hint=f"Add it: matrix: {{{missing[0]}: [...]}}",
        )


def _conditions(suite: Suite, axes: Mapping[str, Axis], devices: Sequence[str]) -> Iterator[Condition]:
    """Yield the product of the matrix without `exclude`, then the product of each include."""
    values: dict[str, tuple[Hashable, ...]] = {name: (each,) for name, each in _defaults(suite, axes).items()}
    # Tokenizing runs on the CPU on every machine.
    values["device"] = ("cpu",) if TOKENIZATION in suite.matrix else tuple(devices[:1])
    values |= {name: _on_devices(name, each, devices) for name, each in suite.matrix.items()}
    # From the outermost to the innermost axis: trials that are compared most often run closest together.
    values = {name: values[name] for name in ("seed", *axes) if name in values}
    excluded = [
        {name: _on_devices(name, (value,), devices) for name, value in entry.items()}
        for entry in suite.exclude
    ]
    for condition in _product(values):
        if not any(all(condition.get(a) in each for a, each in entry.items()) for entry in excluded):
            yield condition
    for entry in suite.include:
        yield from _product(
            values | {name: _on_devices(name, (value,), devices) for name, value in entry.items()}
        )


def _defaults(suite: Suite, axes: Mapping[str, Axis]) -> Condition:
    """Return the value of each optional axis; of those that a suite has as keys, too, only those in use."""
    used = {name for entry in (suite.matrix, *suite.include, *suite.exclude) for name in entry}
    return {
        name: value
        for name, axis in axes.items()
        if not axis.required and (name in used or not (name == "task" or "." in name))
        if (value := default_of(axis, suite)) is not None
    }


def default_of(axis: Axis, suite: Suite) -> Hashable:
    """Return the canonical value of an axis that the matrix leaves out; None if it stays unset."""
    section, _, key = axis.name.rpartition(".")
    if section:
        found: Hashable = getattr(suite.train, key)
        return found
    if axis.name == "task":
        return suite.task
    return None if axis.required or axis.default is None else canonical(axis, axis.default)


def _on_devices(name: str, values: Sequence[Hashable], devices: Sequence[str]) -> tuple[Hashable, ...]:
    """Return the values of an axis, with `auto` and `all` replaced by devices."""
    if name != "device":
        return tuple(values)
    chosen = {"auto": devices[:1], "all": devices}
    return tuple(device for value in values for device in chosen.get(str(value), (value,)))


def _product(values: Mapping[str, tuple[Hashable, ...]]) -> Iterator[Condition]:
    for each in itertools.product(*values.values()):
        yield dict(zip(values, each, strict=True))


def _refuse_duplicates(suite: Suite, axes: Mapping[str, Axis], conditions: Sequence[Condition]) -> None:
    counts = Counter(tuple(sorted(each.items(), key=lambda item: item[0])) for each in conditions)
    twice = [dict(each) for each, count in counts.items() if count > 1]
    if twice:
        named = "; ".join(_described(each, axes) for each in twice[:5])
        more = f"; and {len(twice) - 5:,} more" if len(twice) > 5 else ""
        raise InvalidInputError(
            f"suite {suite.name}: the same trial more than once: {named}{more}",
            hint="Two values of an axis, such as auto and cpu, or an include, give the same on this machine.",
        )


def _described(condition: Condition, axes: Mapping[str, Axis]) -> str:
    return " ".join(label(axes, name, text(condition[name])) for name in axes if name in condition)


def _trials(
    suite: Suite, axes: Mapping[str, Axis], conditions: Iterable[Condition], trial: type[Trial]
) -> Iterator[Trial]:
    trains: dict[tuple[tuple[str, Any], ...], Train] = {}
    for condition in conditions:
        fields = trial_fields(condition, axes)
        of_train = tuple((name, fields.pop(name)) for name in condition if "." in name)
        if of_train not in trains:
            changed = {name.partition(".")[2]: value for name, value in of_train}
            train = Train.model_validate({**suite.train.model_dump(), **changed})
            if problem := settings_problem(train):
                raise InvalidInputError(
                    f"suite {suite.name}: {problem}",
                    hint="Change it in train, or in matrix as train.KEY: [VALUE].",
                )
            trains[of_train] = train
        expanded = trial(**{"task": suite.task, **fields}, train=trains[of_train])
        if expanded.train.label_smoothing_factor and expanded.task.kind == "regression":
            raise InvalidInputError(
                f"suite {suite.name}: label_smoothing_factor is for classes, and task.kind is regression",
                hint="Leave label_smoothing_factor out, or set it to 0.",
            )
        if suite.measure.checkpoint_every is not None and not _resumes(expanded):
            raise InvalidInputError(
                f"suite {suite.name}: measure.checkpoint_every is for the loop engine on one device without "
                f"CUDA graphs, unlike {_described(condition, axes)}",
                hint="Set engine: [loop], or leave measure.checkpoint_every out.",
            )
        yield expanded


def _resumes(trial: Trial) -> bool:
    """Return whether the trial can continue from a state that an earlier attempt wrote."""
    tokenizes = trial.tokenization is not None
    return tokenizes or (trial.engine == "loop" and trial.world_size == 1 and not trial.cuda_graphs)
