"""Accuracy by label and by length as a table, for reports and for scores from stored logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.analysis.breakdown import QUARTERS, Part, parts_of
from harness.analysis.naming import labels
from harness.model.results import Report
from harness.output.document import Column, Table
from harness.output.numbers import NOTHING, amount

TITLE: Final = "Accuracy by label and length"
# A table is as wide as a page.
_MOST_LABELS: Final = 8


def breakdown_tables(report: Report) -> Iterator[Table]:
    """Yield the table, with a row for each variant that stores predictions; none where no variant does."""
    names = labels(result.trial for result in report.results)
    found = {
        names[variant]: parts
        for variant, results in report.variants().items()
        if (parts := parts_of(results))
    }
    if not found:
        return
    known = list(
        dict.fromkeys(part.name for parts in found.values() for part in parts if part.lengths is None)
    )
    quarters = {part.name for parts in found.values() for part in parts if part.lengths is not None}
    shown = [(name, False) for name in known[:_MOST_LABELS]]
    shown += [(name, True) for name in QUARTERS if name in quarters]
    yield Table(
        TITLE,
        (
            Column("variant", tuple(found), numeric=False),
            *(
                Column(name, tuple(_cell(parts, name, by_length=by_length) for parts in found.values()))
                for name, by_length in shown
            ),
        ),
        notes=tuple(_notes(found, known)),
    )


def _cell(parts: tuple[Part, ...], name: str, *, by_length: bool) -> str:
    part = next(
        (each for each in parts if each.name == name and (each.lengths is not None) is by_length), None
    )
    return NOTHING if part is None else amount("eval_accuracy", part.accuracy)


def _notes(found: dict[str, tuple[Part, ...]], known: list[str]) -> Iterator[str]:
    yield "share of the examples classified right, mean over the seeds; quarters by tokens, ties together"
    sizes = dict.fromkeys(", ".join(map(_size, parts)) for parts in found.values())
    if len(sizes) == 1:
        yield f"examples: {next(iter(sizes))}"
    if len(known) > _MOST_LABELS:
        yield f"the first {_MOST_LABELS} of {len(known)} labels"


def _size(part: Part) -> str:
    if part.lengths is None:
        return f"{part.name} {part.examples:,}"
    return f"{part.name} {part.examples:,} ({part.lengths[0]} to {part.lengths[1]} tokens)"
