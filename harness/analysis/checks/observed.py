"""Check the observed behaviour of a training against its settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.analysis.checks.schedule import optimizer_steps, schedule_factor
from harness.model.observations import Observed
from harness.model.results import TrialResult

UNMOVED: Final = "parameters did not change"

_RATE_LIMIT: Final = 1e-5
# For each step: sums are in double precision.
_SUM_LIMIT: Final = 1e-8
_ROUNDING: Final = 1e-7
# By chance, a share deviates by more than seven standard errors in one of 10^11 trainings.
_STANDARD_ERRORS: Final = 7.0
# The rate of a mask that is drawn by sixteen bits an element.
_ROUNDED_RATE: Final = 1e-4


def did_not_move(result: TrialResult) -> bool:
    """Return whether the parameters are unchanged after training, up to rounding in fp32."""
    return result.observed is not None and result.observed.parameter_change < _ROUNDING


def breaches(result: TrialResult) -> tuple[str, ...]:
    """Return a message for each deviation of a training from its settings.

    A gradient scaler skips steps if fp16 overflows, so the number of steps, the last learning rate and the
    sum of all rates are not checked for fp16.
    """
    if result.observed is None or result.data is None:
        return ()
    found = result.observed
    steps = optimizer_steps(result.trial, result.data.train_examples)
    return (
        *_steps(found, steps, fewer=result.trial.precision == "fp16"),
        *_rates(result, found, steps),
        *_modes(found),
        *dropout_breach("the first pass", found.dropped_share, found.dropout_rate, found.dropout_elements),
        *(f"{name} changed, and is frozen" for name in found.moved_frozen),
    )


def _steps(found: Observed, steps: int, *, fewer: bool) -> Iterator[str]:
    if found.optimizer_steps > steps or (found.optimizer_steps < steps and not fewer):
        yield f"the optimizer stepped {found.optimizer_steps} times, {steps} are due"


def _rates(result: TrialResult, found: Observed, steps: int) -> Iterator[str]:
    train = result.trial.train
    places = [("first", found.first_learning_rate, 0)]
    if result.trial.precision != "fp16":
        places.append(("last", found.last_learning_rate, steps - 1))
    for name, given, step in places:
        due = train.learning_rate * schedule_factor(train, step, steps)
        if given is None or abs(given - due) > _RATE_LIMIT * train.learning_rate:
            yield f"the {name} learning rate was {'none' if given is None else f'{given:.6g}'}, due {due:.6g}"
    total = found.learning_rate_sum
    if total is not None and result.trial.precision != "fp16":
        due = train.learning_rate * sum(schedule_factor(train, step, steps) for step in range(steps))
        if abs(total - due) > (_RATE_LIMIT + _SUM_LIMIT * steps) * train.learning_rate:
            yield f"the learning rates add up to {total:.6g}, due {due:.6g}"


def _modes(found: Observed) -> Iterator[str]:
    for epoch, training in enumerate(found.training_mode, start=1):
        if not training:
            yield f"epoch {epoch} began in evaluation mode, in which nothing is dropped"


def dropout_breach(where: str, share: float | None, rate: float | None, elements: int) -> tuple[str, ...]:
    """Return a message if, `where`, another share of the elements was dropped than the rate gives.

    Share and rate are None where nothing was counted.
    """
    if share is None or rate is None:
        return ()
    limit = _STANDARD_ERRORS * (rate * (1 - rate) / elements) ** 0.5 + _ROUNDED_RATE
    if abs(share - rate) <= limit:
        return ()
    return (f"{where} dropped {share:.2%} at a rate of {rate:.2%}",)
