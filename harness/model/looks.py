"""Looks of a run until decided: the verdict of each row so far, and why the run ended."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from harness.model.frozen import Frozen

Verdict = Literal["better", "worse", "same", "same function", "unsure", "not comparable", "missing", "failed"]

FEWEST_SEEDS: Final = 3
"""The seeds at the first look: with fewer, a t test has almost no power."""

MOST_SEEDS: Final = 200

DECIDED: Final[tuple[Verdict, ...]] = ("better", "worse", "same")

End = Literal["decided", "most seeds", "budget", "interrupted", "first failure"]
"""Why no look follows. A run that ended by its budget or an interrupt goes on with the next command."""

Share = Annotated[float, Field(ge=0, le=1)]


class LookRow(Frozen):
    """One metric of a variant against the first value of the compared axis.

    `variant` and `candidate` name the row as in `harness compare REPORT --by AXIS`. The verdict was reached
    at `seeds` seeds; an unsure one is that of the last look. `effect` is the one seen there: a difference, or
    a ratio. `p` is the smallest p-value of all looks, adjusted for the looks, `p_holm` also for the rows.
    `next_step` is advice for an unsure row.
    """

    variant: str
    candidate: str
    metric: str
    verdict: Verdict
    seeds: Annotated[int, Field(ge=1)]
    effect: float | None = None
    p: Share | None = None
    p_holm: Share | None = None
    next_step: str | None = None


class Looks(Frozen):
    """The looks of a run that adds seeds until its rows are decided.

    `seeds` is the number of seeds at each look that was taken, `most_seeds` that of the last possible one.
    `by` is the compared axis, `baseline` its first value. `margins` are those of equivalence by metric.
    """

    by: str
    baseline: str
    margins: dict[str, float]
    alpha: Share
    boundary: str
    most_seeds: Annotated[int, Field(ge=1)]
    seeds: Annotated[tuple[int, ...], Field(strict=False)] = ()
    ended: End
    rows: tuple[LookRow, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether no look can follow."""
        return self.ended in ("decided", "most seeds")

    @property
    def open(self) -> tuple[LookRow, ...]:
        """The rows without a verdict."""
        return tuple(row for row in self.rows if row.verdict == "unsure")
