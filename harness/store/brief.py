"""A result as a long run remembers it: without what only the report's file needs, equal parts held once.

Ten thousand results as they are stored fill more than a gigabyte; what tables, gates' bounds and resuming
look at fits into a tenth of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, cast

import pydantic_core

from harness.model.frozen import Frozen
from harness.model.measurements import Measurement
from harness.model.results import TrialResult
from harness.model.trial import Trial

M = TypeVar("M", bound=Frozen)

Shape = Callable[[TrialResult], TrialResult]


def as_it_is(result: TrialResult) -> TrialResult:
    """The result itself, with everything in it."""
    return result


def briefly(trials: Iterable[Trial]) -> Shape:
    """A function that gives a result without its predictions, and with the median in place of many values.

    It shares what equals a part of an earlier result.

    Args:
        trials: the plan's, which stand in the place of equal ones.
    """
    planned = {trial.id: trial for trial in trials}
    parts: dict[bytes, Frozen] = {}
    given = {model.__name__: set(model.model_fields) for model in (TrialResult, Measurement)}

    def shared(part: M | None) -> M | None:
        if part is None:
            return None
        alike = parts.setdefault(pydantic_core.to_json(part), part)
        return alike if isinstance(alike, type(part)) else part

    def light(model: M, **changes: object) -> M:
        # Every validated model owns a set of the fields that were given, as large as all else in it.
        fields = given[type(model).__name__]
        values = {name: getattr(model, name) for name in fields} | changes
        return cast("M", model.model_construct(_fields_set=fields, **values))

    def measurement(found: Measurement) -> Measurement:
        if found.median is None:
            return shared(found) or found
        return light(found, values=(found.median,))

    def shape(result: TrialResult) -> TrialResult:
        trial = planned.get(result.trial.id)
        return light(
            result,
            trial=trial if trial == result.trial else result.trial,
            predictions=None,
            measurements=tuple(map(measurement, result.measurements)),
            checkpoint=shared(result.checkpoint),
            data=shared(result.data),
            environment=shared(result.environment),
        )

    return shape
