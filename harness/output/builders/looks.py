"""The verdicts of a run that added seeds until they were decided: a line, a table, and the open rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.model.looks import DECIDED, End, Looks
from harness.model.metrics import metric_named
from harness.output.builders.effects import change, margin_text, p_value
from harness.output.document import Column, Table, Tone
from harness.words import count

_ENDED: Final[dict[End, str]] = {
    "decided": "no row is open",
    "most seeds": "the last look was taken",
    "budget": "stopped by --budget; the same command goes on",
    "interrupted": "interrupted; the same command goes on",
    "first failure": "stopped by --fail-fast; the same command goes on",
}
_TONES: Final[dict[str, Tone]] = {"better": "good", "worse": "bad", "failed": "bad"}


def looks_line(looks: Looks) -> str:
    """Return the looks, the boundary and the number of decided rows in one line."""
    taken = f"{count(len(looks.seeds), 'look')}"
    if looks.seeds:
        taken += f" at {', '.join(map(str, looks.seeds))} of at most {looks.most_seeds} seeds"
    decided = sum(row.verdict in DECIDED for row in looks.rows)
    ended = _ENDED[looks.ended]
    if looks.ended == "decided" and decided < len(looks.rows):
        ended = "no other row can be decided"
    against = f" {looks.by} against {looks.baseline}:" if looks.rows else ""
    return (
        f"until decided:{against} {decided} of {count(len(looks.rows), 'row')} decided, {len(looks.open)} "
        f"open; {taken}, {looks.boundary} at {100 * looks.alpha:g} %; {ended}"
    )


def looks_table(looks: Looks) -> Table:
    """Return the verdict of every row, with the advice for the open ones as notes."""
    rows = looks.rows
    several = len({row.variant for row in rows}) > 1
    return Table(
        "Verdicts over all looks",
        (
            *([Column("variant", tuple(row.variant for row in rows), numeric=False)] if several else []),
            Column(looks.by, tuple(row.candidate for row in rows), numeric=False),
            Column("metric", tuple(metric_named(row.metric).label for row in rows), numeric=False),
            Column(
                "verdict",
                tuple("open" if row.verdict == "unsure" else row.verdict for row in rows),
                numeric=False,
                tones=tuple(_TONES.get(row.verdict, "") for row in rows),
            ),
            Column("seeds", tuple(str(row.seeds) for row in rows)),
            Column("change", tuple(map(change, rows))),
            Column("adjusted p", tuple(p_value(row.p_holm) for row in rows)),
        ),
        notes=tuple(_notes(looks)),
    )


def _notes(looks: Looks) -> Iterator[str]:
    margins = ", ".join(
        f"{metric_named(metric).label} ±{margin_text(metric, margin)}"
        for metric, margin in looks.margins.items()
    )
    if margins:
        yield f"same: inside {margins}"
    for row in looks.open:
        advice = f": {row.next_step}" if row.next_step else ""
        yield f"open: {row.variant}, {row.candidate}, {metric_named(row.metric).label}{advice}"
    if any(
        metric_named(row.metric).depends_on_machine and row.metric not in looks.margins for row in looks.open
    ):
        yield "speeds can be the same only inside the noise band of the machine: harness calibrate"
