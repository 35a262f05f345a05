"""Expand a suite to trials: the product of the axes, without `exclude`, plus `include`."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from harness.errors import InvalidInputError
from harness.model.suite import Suite
from harness.model.trial import Train, Trial
from harness.suite.axes import AXES, REQUIRED, Checkpoint, canonical
from harness.suite.impossible import refuse_impossible
from harness.words import quoted

MOST_TRIALS: Final = 100_000

# From the outermost to the innermost loop: variants that are compared most often run closest together.
ORDER: Final = ("seed", *(axis for axis in AXES if axis != "seed"))

Condition = dict[str, Hashable]
"""A value for each axis in use, in canonical form; always in the same order of axes, the seed first."""


def count_trials(suite: Suite, devices: int) -> int:
    """Return the number of trials before `exclude` on so many devices, without expanding the matrix."""
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
    """Return the message for a plan that exceeds its limit, with the way to raise it."""
    how = f"; max_trials raises the limit, up to {MOST_TRIALS:,}" if most < MOST_TRIALS else ""
    return f"{count:,} trials > max {most:,} (counted before exclude){how}"


def expand(suite: Suite, devices: Sequence[str]) -> tuple[Trial, ...]:
    """Return the trials of a suite on a machine: seeds outermost, every second seed in reverse order.

    The reversal turns a drift of the machine's speed into noise: over two seeds every variant has the same
    mean position in the queue of its device. In a constant order the drift would bias the last variants.

    Args:
        suite: The suite to expand.
        devices: The available devices, best first: `auto` is the first and `all` each of them. An unavailable
            device that the suite names is kept.

    Raises:
        InvalidInputError: too many trials, duplicates, an impossible combination, or no trial at all.
    """
    count = count_trials(suite, len(devices))
    if count > suite.max_trials:
        raise InvalidInputError(
            f"suite {suite.name}: {too_many(count, suite.max_trials)}",
            hint="Or shorten an axis of the matrix.",
        )
    conditions = list(_conditions(suite, devices))
    if not conditions:
        raise InvalidInputError(f"suite {suite.name}: exclude leaves no trial", hint="Remove an exclude.")
    _refuse_duplicates(suite, conditions)
    refuse_impossible(suite, conditions)
    seeds = {
        seed: position for position, seed in enumerate(dict.fromkeys(each["seed"] for each in conditions))
    }
    by_seed: list[list[Condition]] = [[] for _ in seeds]
    for condition in conditions:
        by_seed[seeds[condition["seed"]]].append(condition)
    for group in by_seed[1::2]:
        group.reverse()
    return tuple(_trials(suite, itertools.chain.from_iterable(by_seed)))


def _conditions(suite: Suite, devices: Sequence[str]) -> Iterator[Condition]:
    """Yield the matrix without excluded conditions, then the included ones, which `exclude` ignores."""
    axes: dict[str, tuple[Hashable, ...]] = {axis: (value,) for axis, value in _defaults(suite).items()}
    # Tokenizing runs on the CPU on every machine.
    axes["device"] = ("cpu",) if "tokenization" in suite.matrix else tuple(devices[:1])
    axes |= {axis: _canonical(suite, axis, values, devices) for axis, values in suite.matrix.items()}
    if missing := [axis for axis in REQUIRED if axis not in axes]:
        raise InvalidInputError(f"suite {suite.name}: the axis {missing[0]} is missing in matrix")
    excluded = [
        {axis: _canonical(suite, axis, (value,), devices) for axis, value in entry.items()}
        for entry in suite.exclude
    ]
    axes = {axis: axes[axis] for axis in ORDER if axis in axes}
    for condition in _product(axes):
        if not any(all(condition.get(a) in values for a, values in entry.items()) for entry in excluded):
            yield condition
    for entry in suite.include:
        yield from _product(
            axes | {axis: _canonical(suite, axis, (value,), devices) for axis, value in entry.items()}
        )


def _defaults(suite: Suite) -> Condition:
    """Return the default of every axis that some entry of the suite uses and the matrix may omit."""
    used = {axis for entry in (suite.matrix, *suite.include, *suite.exclude) for axis in entry}
    defaults: Condition = {"seed": 0}
    for axis, known in AXES.items():
        if axis in used and axis.startswith("train."):
            defaults[axis] = getattr(suite.train, axis.removeprefix("train."))
        elif known.default is not None and axis not in ("device", "seed"):
            defaults[axis] = canonical(axis, known.default[0])
    return defaults


def _canonical(
    suite: Suite, axis: str, values: Sequence[object], devices: Sequence[str]
) -> tuple[Hashable, ...]:
    """Return the canonical values of an axis, with `auto` and `all` replaced by devices."""
    if axis not in AXES:
        raise InvalidInputError(
            f"suite {suite.name}: unknown axis {quoted(axis)}", hint=f"Axes: {', '.join(AXES)}"
        )
    try:
        found = [canonical(axis, value) for value in values]
    except ValidationError as error:
        what = error.errors(include_url=False)[0]["msg"]
        raise InvalidInputError(f"suite {suite.name}: the axis {axis}: {what}") from None
    if axis != "device":
        return tuple(found)
    chosen = {"auto": devices[:1], "all": devices}
    return tuple(device for value in found for device in chosen.get(str(value), (value,)))


def _product(axes: Mapping[str, tuple[Hashable, ...]]) -> Iterator[Condition]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _refuse_duplicates(suite: Suite, conditions: list[Condition]) -> None:
    counts = Counter(tuple(sorted(each.items(), key=lambda item: item[0])) for each in conditions)
    twice = [described for described, count in counts.items() if count > 1]
    if twice:
        named = "; ".join(_described(dict(each)) for each in twice[:5])
        more = f"; and {len(twice) - 5:,} more" if len(twice) > 5 else ""
        raise InvalidInputError(
            f"suite {suite.name}: the same trial more than once: {named}{more}",
            hint="Two values of an axis, such as auto and cpu, or an include, give the same on this machine.",
        )


def _described(condition: Condition) -> str:
    return ", ".join(f"{axis} {quoted(str(value))}" for axis, value in condition.items())


def _trials(suite: Suite, conditions: Iterable[Condition]) -> Iterator[Trial]:
    trains: dict[tuple[tuple[str, Hashable], ...], Train] = {}
    for condition in conditions:
        of_train = tuple(item for item in condition.items() if item[0].startswith("train."))
        if of_train not in trains:
            changed = {axis.removeprefix("train."): value for axis, value in of_train}
            trains[of_train] = Train.model_validate({**suite.train.model_dump(), **changed})
        checkpoint = condition["checkpoint"]
        assert isinstance(checkpoint, Checkpoint)
        fields: dict[str, Any] = {
            axis: value for axis, value in condition.items() if not axis.startswith("train.")
        }
        fields |= {"checkpoint": checkpoint.name, "revision": checkpoint.revision}
        yield Trial(**fields, task=suite.task, train=trains[of_train])
