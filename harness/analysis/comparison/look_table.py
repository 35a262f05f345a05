"""Verdicts of a run that adds seeds until its rows are decided, with valid error rates over all looks.

The p-value of a row at a look becomes a repeated p-value; the smallest one so far enters Holm's adjustment
over all rows of the table. `same` needs two one-sided tests at the level that the spending function gives the
look. The first verdict of a row is final, and a variant whose rows are decided stops: its p-values are not
tested again, which can only make them too large. Rows over all variants of an axis are not among them.

The number of seeds gives the information of a look. The evaluation examples, which are the same at every
look, correlate the looks more than the seeds alone: the levels are then smaller than necessary, never larger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeVar

from harness.analysis.comparison.compared_rows import Judged
from harness.analysis.comparison.comparing import compare_in_full
from harness.analysis.comparison.models import Comparison, ComparisonRow
from harness.analysis.comparison.next_step import next_step
from harness.analysis.comparison.terms import DEFAULT_MARGIN
from harness.analysis.stats.components import ALPHA
from harness.analysis.stats.sequential import BOUNDARY, nominal_level, repeated_p
from harness.analysis.stats.tests import Effect, holm
from harness.errors import NotComparableError
from harness.model.looks import DECIDED, End, LookRow, Looks, Verdict
from harness.model.results import Report

_TESTED: Final[tuple[Verdict, ...]] = (*DECIDED, "unsure")

K = TypeVar("K")
Key = tuple[str, ...]
"""The ids of the compared variants, and the metric."""


class Row(Protocol):
    """A row of the table at one look."""

    @property
    def effect(self) -> Effect | None:
        """The tested effect, if any."""

    def verdict_at(self, p: float | None, level: float) -> Verdict:
        """Return the verdict with this adjusted p, and this level of the tests of equivalence."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a row after the looks so far.

    `p` is adjusted for the looks, `p_holm` also for the rows. The verdict is that at `seeds` seeds. `center`
    is the centre of the effect at the look that gave `p`: the direction that `p` is evidence for.
    """

    verdict: Verdict = "unsure"
    p: float = 1.0
    p_holm: float = 1.0
    seeds: int = 0
    center: float = field(default=0.0, compare=False)

    @property
    def decided(self) -> bool:
        """Whether the verdict is final."""
        return self.verdict in DECIDED


def take_look(
    rows: Mapping[K, Row], before: Mapping[K, Standing], sizes: tuple[int, ...], at: int
) -> dict[K, Standing]:
    """Return the standing of every row after a look.

    Args:
        rows: the rows of the variants that still run; in the first look every row.
        before: the standings after the look before; empty in the first.
        sizes: the number of seeds at each possible look.
        at: the place of this look, from 0.
    """
    level = nominal_level(sizes, at, ALPHA, 1)
    standings = dict(before) or dict.fromkeys(rows, Standing())
    open_rows = {key: row for key, row in rows.items() if not standings[key].decided}
    untested = {key for key, row in open_rows.items() if row.verdict_at(None, level) not in _TESTED}
    for key, row in rows.items():
        p = _repeated_p(row, sizes, at)
        if p < standings[key].p and row.effect is not None:
            standings[key] = replace(standings[key], p=p, center=row.effect.center)
    # A row without a p-value, such as one of identical predictions, counts too: the number of tests must not
    # depend on the scores.
    counted = [
        key
        for key, each in standings.items()
        if key not in untested and (key in rows or each.verdict in _TESTED)
    ]
    for key, found in zip(counted, holm([standings[key].p for key in counted]), strict=True):
        standings[key] = replace(standings[key], p_holm=1.0 if found is None else found.p)
    for key, row in open_rows.items():
        # A p of an earlier look is no evidence for an effect that has changed its direction since.
        turned = row.effect is not None and row.effect.center * standings[key].center < 0
        verdict = row.verdict_at(1.0 if turned else standings[key].p_holm, level)
        standings[key] = replace(standings[key], verdict=verdict, seeds=sizes[at])
    return standings


def _repeated_p(row: Row, sizes: tuple[int, ...], at: int) -> float:
    p = None if row.effect is None else row.effect.p
    return 1.0 if p is None else repeated_p(p, sizes, at, 2)


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be decided: which variants of `by` differ from its first value, in which metrics.

    `metrics` and `margin` are those of `compare`; no metrics for its default ones.
    """

    by: str
    metrics: tuple[str, ...] | None = None
    margin: float | Mapping[str, float] = DEFAULT_MARGIN


class LookTable:
    """The looks so far of one run."""

    def __init__(self, question: Question, sizes: tuple[int, ...]) -> None:
        self._question = question
        self._sizes = sizes
        self._taken = 0
        self._standings: dict[Key, Standing] = {}
        self._rows: dict[Key, Judged] = {}
        self._comparison: Comparison | None = None

    def add(self, report: Report, noise: Mapping[str, float]) -> None:
        """Take the next look at a report of all variants, in which those that stopped have fewer seeds.

        Args:
            report: the results so far.
            noise: the relative band of the machine noise by metric.

        Raises:
            InvalidInputError: The axis or a term is unknown, or there is nothing to compare.
        """
        question, active = self._question, self.open_variants
        try:
            self._comparison, judged = compare_in_full(
                [report], by=question.by, metrics=question.metrics, margin=question.margin, noise=noise
            )
        except NotComparableError:
            judged = ()
        rows = {
            (*each.sides, each.row.metric): each
            for each in judged
            if each.row.variants == 1 and (not self._taken or active.issuperset(each.sides))
        }
        before = self._standings
        self._standings = take_look(rows, before, self._sizes, self._taken)
        self._taken += 1
        self._rows |= {key: row for key, row in rows.items() if not before.get(key, Standing()).decided}

    @property
    def open_variants(self) -> frozenset[str]:
        """The ids of the variants with an undecided row, and of those they are compared with."""
        open_rows = [key for key, each in self._standings.items() if each.verdict == "unsure"]
        return frozenset(variant for key in open_rows for variant in key[:-1])

    def looks(self, ended: End) -> Looks:
        """Return the record of the looks for the report."""
        comparison = self._comparison
        return Looks(
            by=self._question.by,
            baseline="" if comparison is None else comparison.baseline,
            margins={} if comparison is None else comparison.margins,
            alpha=ALPHA,
            boundary=BOUNDARY,
            most_seeds=self._sizes[-1],
            seeds=self._sizes[: self._taken],
            ended=ended,
            rows=tuple(self._outcome(key, row) for key, row in self._rows.items()),
        )

    def _outcome(self, key: Key, judged: Judged) -> LookRow:
        standing, row, effect = self._standings[key], judged.row, judged.effect
        tested = standing.verdict in _TESTED
        return LookRow(
            variant=row.variant,
            candidate=row.candidate.name,
            metric=row.metric,
            verdict=standing.verdict,
            # Not every seed of the look may have usable trials on both sides.
            seeds=len(row.seeds) or standing.seeds,
            effect=row.effect,
            p=standing.p if tested else None,
            p_holm=standing.p_holm if tested else None,
            next_step=next_step(row, effect, judged.margin, self._last_level(), _most_seeds)
            if standing.verdict == "unsure" and effect is not None
            else None,
        )

    def _last_level(self) -> float:
        """Return the level for detecting a further effect at the last possible look."""
        left = sum(each.verdict in _TESTED and each.p_holm > ALPHA for each in self._standings.values())
        return nominal_level(self._sizes, len(self._sizes) - 1, ALPHA / max(left, 1), 2)


def _most_seeds(seeds: int, _row: ComparisonRow) -> str:
    return f"--most-seeds {seeds}"
