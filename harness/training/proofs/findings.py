"""What a comparison found, as the result of a proof keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from harness.model.proof import TrainingCheck

_MOST_NAMED: Final = 3


def within(name: str, what: str, measured: float, limit: float) -> TrainingCheck:
    """A check of a number, which passes up to its limit; NaN does not."""
    return TrainingCheck(
        name=name,
        passed=measured <= limit,
        found=f"{what} {measured:.1e} (limit {limit:.0e})",
        measured=measured if measured == measured else None,  # noqa: PLR0124 - false for NaN, which JSON lacks
        limit=limit,
    )


def none_of(name: str, problems: Iterable[str], passed: str) -> TrainingCheck:
    """A check that passes where there is no problem; the first few are named."""
    found = list(dict.fromkeys(problems))
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return TrainingCheck(
        name=name, passed=not found, found=f"{'; '.join(found[:_MOST_NAMED])}{more}" if found else passed
    )


def largest(differences: Sequence[float]) -> float:
    """The largest difference; NaN where one is, or where there is none to judge by."""
    if not differences or any(each != each for each in differences):  # noqa: PLR0124 - NaN
        return float("nan")
    return max(differences)
