"""Detect that all trials with one value of an axis end with the same error, to skip the rest of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.analysis.naming import axes, varying_axes
from harness.model.results import TrialResult
from harness.model.trial import Trial

_COMPARED_CHARACTERS = 120


@dataclass(slots=True)
class _Seen:
    """The ended trials with one value of an axis: the error of all of them, or None, and their number."""

    error: str | None
    count: int = 0


@dataclass(slots=True)
class SameError:
    """Counts errors by axis value, for the axes that have several values in the plan.

    The other trials with a value are skipped once `limit` trials with it have ended, all with the same error.
    """

    trials: Iterable[Trial]
    limit: int
    _values: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    _seen: dict[tuple[str, str], _Seen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        variants = {trial.variant_id: axes(trial) for trial in self.trials}
        varying = varying_axes(variants.values())
        self._values = {
            variant: tuple((name, values[name]) for name in varying) for variant, values in variants.items()
        }

    def add(self, result: TrialResult) -> None:
        """Count a trial that has ended."""
        error = _error(result)
        for value in self._values.get(result.trial.variant_id, ()):
            seen = self._seen.setdefault(value, _Seen(error))
            seen.error = error if seen.error == error else None
            seen.count += 1

    def hopeless(self, trial: Trial) -> str | None:
        """Return the reason to skip a trial, or None."""
        for axis, value in self._values.get(trial.variant_id, ()):
            seen = self._seen.get((axis, value))
            if seen is not None and seen.error is not None and seen.count >= self.limit:
                return f"not run: all {seen.count} trials with {axis} {value} ended with {seen.error}"
        return None


def _error(result: TrialResult) -> str | None:
    if result.status == "completed":
        return None
    return f"{result.status} in {result.phase}: {(result.reason or '')[:_COMPARED_CHARACTERS]}"
