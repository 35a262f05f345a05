"""The odd parts of a run: conditions that differ between its variants, and trials that did not complete."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from harness.analysis.comparison.conditions import CONDITIONS
from harness.analysis.naming import attention_of, axes, shown_axes, telling_axes
from harness.analysis.rows import Failure, Row
from harness.model.results import Report, TrialResult
from harness.model.status import Phase, StatusName
from harness.output.document import Column, Table
from harness.words import count, one_line

MOST_FAILURES: Final = 20
MOST_VARIANTS: Final = 40
_MOST_NAMES: Final = 8
# Equal for all trials of a run, or a remark of its rows.
_REMARKED: Final = frozenset({"at_once", "warm_up"})


def differing(report: Report, rows: Sequence[Row]) -> Table | None:
    """Return the axes and conditions in which the variants differ; None for a single variant."""
    if len(rows) < 2:
        return None
    shown = rows[:MOST_VARIANTS]
    variants = report.variants()
    found = [
        dict(of_axes) | _conditions(report, variants[row.variant])
        for row, of_axes in zip(rows, shown_axes(axes(row.trial) for row in rows), strict=True)
    ]
    varying = telling_axes(found)
    named = [name for name in varying if name in axes(rows[0].trial)]
    names = [*named, *(name for name in varying if name not in named and not _follows(found, name, named))]
    left_out = len({name for values in found for name in values}) - len(names)
    left = (
        [f"the first {MOST_VARIANTS} of {count(len(rows), 'variant')}"] if len(rows) > MOST_VARIANTS else []
    )
    return Table(
        "Only what differs",
        (
            Column("variant", tuple(row.label for row in shown), numeric=False),
            *(
                Column(name, tuple(values.get(name, "") for values in found[: len(shown)]), numeric=False)
                for name in names
            ),
        ),
        notes=(f"not shown: {count(left_out, 'condition')} that are equal or follow from an axis", *left),
    )


def _follows(found: Sequence[dict[str, str]], name: str, named: Sequence[str]) -> bool:
    """Return whether one axis determines a condition, as the checkpoint does its files."""
    return any(
        len({(values.get(axis), values.get(name)) for values in found})
        == len({values.get(axis) for values in found})
        for axis in named
    )


def _conditions(report: Report, results: Sequence[TrialResult]) -> dict[str, str]:
    """Return the inputs and the environment of the first completed trial."""
    done = next((result for result in results if result.status == "completed"), None)
    if done is None:
        return {}
    read = {
        condition.meaning: condition.read(done, report)
        for name, condition in CONDITIONS.items()
        if name not in _REMARKED
    }
    return read | {"attention that ran": attention_of(done)}


def failures(report: Report, rows: Sequence[Row]) -> Table | None:
    """Return the trials that started and did not complete, with the last lines of their logs."""
    failed = [result for result in report.results if result.status not in ("completed", "pending")]
    if not failed:
        return None
    labelled = {row.variant: row.label for row in rows}
    logs = tuple(
        (
            f"{labelled[result.trial.variant_id]}, seed {result.trial.seed}: {result.status} in "
            f"{result.phase.replace('_', ' ')}: {result.reason}",
            result.log_tail,
        )
        for result in failed[:MOST_FAILURES]
    )
    left = len(failed) - MOST_FAILURES
    return Table(
        "Failed trials",
        notes=(f"and {count(left, 'more trial')}; `--format json` has every one",) if left > 0 else (),
        logs=logs,
    )


def failure_notes(rows: Sequence[Row]) -> Iterable[str]:
    """Return each reason once, with the variants that share it."""
    by_reason: dict[tuple[StatusName, Phase, str], list[tuple[Row, Failure]]] = {}
    for row in rows:
        for failure in row.failures:
            by_reason.setdefault((failure.status, failure.phase, failure.reason), []).append((row, failure))
    for (status, phase, reason), failed in list(by_reason.items())[:MOST_FAILURES]:
        happened = status if status == "pending" else f"{status} in {phase.replace('_', ' ')}"
        yield f"{_where(failed, len(rows))}: {happened}: {one_line(reason)}"
    left = sum(map(len, list(by_reason.values())[MOST_FAILURES:]))
    if left:
        yield f"and {left:,} more that did not complete; `--format json` has every one"


def _where(failed: Sequence[tuple[Row, Failure]], variants: int) -> str:
    """`static, seed 0; dynamic, seeds 0, 1`, the first few of many; `every variant` for all their seeds."""
    if len(failed) == variants > 1 and all(failure.seeds == row.seeds for row, failure in failed):
        return "every variant"
    places = [
        f"{row.label}, seed{'' if len(failure.seeds) == 1 else 's'} {', '.join(map(str, failure.seeds))}"
        for row, failure in failed
    ]
    return first_of(places, "; ")


def first_of(names: Sequence[str], separator: str) -> str:
    """Join the names of variants, the first few of many."""
    left = len(names) - _MOST_NAMES
    more = [count(left, "more variant")] if left > 0 else []
    return separator.join([*names[:_MOST_NAMES], *more])
