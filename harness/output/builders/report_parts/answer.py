"""The answer of a run in a sentence, the reasons to doubt it, and the verdicts of a run until decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis.checks.observed import UNMOVED
from harness.analysis.leading import Leader, leaders
from harness.analysis.rows import Row
from harness.model.looks import DECIDED, End, Looks
from harness.model.metrics import headlines, metric_named
from harness.model.results import UNSEALED, Report
from harness.output.builders.effects import change, margin_text, p_value
from harness.output.builders.report_parts.cells import mean_and_spread
from harness.output.document import Column, Table, Tone
from harness.output.numbers import rate
from harness.words import count

RANKS: Final = (
    "rank: by median speed; [1-2]: the trials do not separate these; (3): by the medians alone, not tested"
)
_MOST_NAMES: Final = 4


def answer(report: Report, rows: Sequence[Row]) -> str:
    """Return which variant is fastest, by how much, and its quality, for each device."""
    found = leaders(report, rows)
    completed = sum(result.status == "completed" for result in report.results)
    ended = f"{completed:,} of {count(len(report.results), 'trial')} completed"
    devices = len({each.fastest[0].trial.device for each in found}) > 1
    sentences = [
        f"{f'{each.fastest[0].trial.device}: ' if devices else ''}{_sentence(each)}" for each in found
    ]
    return "; ".join([*sentences, ended])


def _sentence(found: Leader) -> str:
    first = found.fastest[0]
    names = _some([row.label for row in found.fastest])
    if found.compared == 1:
        return f"{first.label}: {rate(first.speed)} real tokens/s{_quality(found)}"
    if not found.ranked:
        start = (
            f"{names} has the highest speed, {rate(first.speed)} real tokens/s, of "
            f"{found.compared} variants; the trials do not show that it is the fastest"
        )
    elif len(found.fastest) > 1:
        start = f"the trials do not separate {names}, the fastest of {found.compared} variants"
    else:
        start = f"{names} is the fastest of {found.compared} variants"
    return f"{start}{_ratio(found)}{_quality(found)}"


def _ratio(found: Leader) -> str:
    if found.against is None or found.ratio is None:
        return ""
    ends = "" if found.interval is None else f" [{found.interval[0]:.2f}, {found.interval[1]:.2f}]"
    of = f"{found.fastest[0].label}: " if len(found.fastest) > 1 else ""
    return f"; {of}{found.ratio:.2f} x{ends} the speed of {found.against.label}"


def _quality(found: Leader) -> str:
    """The scores of the first fastest and of the compared variant; the difference is not tested here."""
    first, against = found.fastest[0], found.against
    metric = next((name for name in reversed(headlines("training")) if name in first.quality), None)
    if metric is None:
        return ""
    label, shown = metric_named(metric).label, mean_and_spread(metric, first.quality[metric])
    if against is None or metric not in against.quality:
        return f", {label} {shown}"
    return f", {label} {shown} against {mean_and_spread(metric, against.quality[metric])}"


def _some(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b, c, d and 7 more`."""
    shown = list(names[:_MOST_NAMES])
    if len(names) > _MOST_NAMES:
        shown.append(f"{len(names) - _MOST_NAMES} more")
    *others, last = shown
    return f"{', '.join(others)} and {last}" if others else last


def doubts(report: Report, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the doubts about the numbers, each in a few words; the notes give the details."""
    ended = Counter(result.status for result in report.results if result.status != "completed")
    if ended:
        yield f"did not complete: {', '.join(f'{number} {status}' for status, number in ended.items())}"
    for text, number in (
        ("fail parity", sum(row.fails_parity for row in rows)),
        ("fail the proof of training", sum(row.fails_training for row in rows)),
        ("degenerate", sum(row.degenerate > 0 for row in rows)),
        (UNMOVED, sum(row.unmoved > 0 for row in rows)),
        ("below the majority class", sum(row.below_majority > 0 for row in rows)),
        ("with mixed inputs", sum(bool(row.mixed) for row in rows)),
        ("on a noisy machine", sum(bool(row.noisy) for row in rows)),
        ("timed while other trials ran", sum(row.concurrent > 1 for row in rows)),
        ("with stand-in weights", sum(row.stand_in is not None for row in rows)),
        ("on synthetic data", sum(row.synthetic for row in rows)),
    ):
        if number:
            yield f"{text}: {'every variant' if number == len(rows) else count(number, 'variant')}"
    if not report.proofs and any(row.tokenizing is None for row in rows):
        yield "parity not proved"
    if UNSEALED in report.notes:
        yield "unsealed report"


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
