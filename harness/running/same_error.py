"""Notice that all trials with one value of an axis end with the same error, so that the rest is spared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harness.model.results import TrialResult
from harness.model.trial import Trial

AXES = (
    *("checkpoint", "padding", "device", "precision", "engine", "attention", "token_type_ids"),
    *("last_layer", "cuda_graphs"),
)
_COMPARED_CHARACTERS = 120


@dataclass(slots=True)
class _Seen:
    """How the trials with one value of an axis ended: the error of all of them, or None, and how many."""

    error: str | None
    count: int = 0


@dataclass(slots=True)
class SameError:
    """Counts errors by axis value, for the axes that have several values in the plan.

    A value is hopeless once `limit` trials with it have ended, all of them with the same error.
    """

    trials: Iterable[Trial]
    limit: int
    _axes: tuple[str, ...] = ()
    _seen: dict[tuple[str, str], _Seen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        trials = tuple(self.trials)
        self._axes = tuple(axis for axis in AXES if len({str(getattr(one, axis)) for one in trials}) > 1)

    def add(self, result: TrialResult) -> None:
        """Count a trial that has ended."""
        error = _error(result)
        for place in self._places(result.trial):
            seen = self._seen.setdefault(place, _Seen(error))
            seen.error = error if seen.error == error else None
            seen.count += 1

    def hopeless(self, trial: Trial) -> str | None:
        """Why the trial need not be run, or None."""
        for axis, value in self._places(trial):
            seen = self._seen.get((axis, value))
            if seen is not None and seen.error is not None and seen.count >= self.limit:
                return f"not run: all {seen.count} trials with {axis} {value} ended with {seen.error}"
        return None

    def _places(self, trial: Trial) -> Iterator[tuple[str, str]]:
        return ((axis, str(getattr(trial, axis))) for axis in self._axes)


def _error(result: TrialResult) -> str | None:
    if result.status == "completed":
        return None
    return f"{result.status} in {result.phase}: {(result.reason or '')[:_COMPARED_CHARACTERS]}"
