"""The table of each variant's share of its machine's peak speed, and the notes below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from harness.analysis.peak_shares import Roofline, rooflines
from harness.analysis.rows import Row
from harness.model.results import Report
from harness.output.document import Column
from harness.output.numbers import percent, rate

HEADING: Final = "Roofline"


def roofline_columns(report: Report, rows: Sequence[Row]) -> tuple[Column, ...]:
    """One line for each variant that trained; empty where no trial measured a peak."""
    found = rooflines(report)
    if not any(line.peak is not None or line.square_peak is not None for line in found.values()):
        return ()
    shown = [(row.label, found[row.variant]) for row in rows if row.variant in found]
    lines = [line for _, line in shown]
    return (
        Column("variant", tuple(label for label, _ in shown), numeric=False),
        Column("real FLOPs", tuple(rate(line.flops) for line in lines), dispensable=True),
        Column("real FLOP/s", tuple(rate(line.per_second) for line in lines)),
        Column("peak FLOP/s", tuple(rate(line.peak) for line in lines)),
        Column("of peak", tuple(percent(line.share) for line in lines)),
        Column("square FLOP/s", tuple(rate(line.square_peak) for line in lines), dispensable=True),
        Column("copied bytes/s", tuple(rate(line.copy_peak) for line in lines), dispensable=True),
    )


def roofline_notes(report: Report, rows: Sequence[Row]) -> list[str]:
    """Explain the columns, list missing measurements with reasons, and impossible peaks."""
    found = rooflines(report)
    return [
        "real: matrix products of real tokens, forward and backward, after warm-up; padding counts as none",
        "peak: the fastest matrix products seen on this device at the model's shapes; "
        "square: of square matrices; copied: bytes read and written",
        *_unmeasured(found, rows),
        *_beaten(found, rows),
    ]


def _unmeasured(found: Mapping[str, Roofline], rows: Sequence[Row]) -> Iterable[str]:
    equal: dict[str, list[str]] = {}
    for row in rows:
        if row.variant in found and (reason := found[row.variant].reason) is not None:
            equal.setdefault(reason, []).append(row.label)
    for reason, labels in equal.items():
        where = "" if len(labels) == len(found) else f" ({', '.join(labels)})"
        yield f"share of the peak not measured{where}: {reason}"


def _beaten(found: Mapping[str, Roofline], rows: Sequence[Row]) -> Iterable[str]:
    beaten = [row.label for row in rows if row.variant in found and (found[row.variant].share or 0) > 1]
    if beaten:
        yield (
            f"{', '.join(beaten)}: more than the peak, which was measured on a busy machine, or on products "
            "too small for this device to show it; ten minutes later it is measured again"
        )


def no_roofline(report: Report) -> str:
    """Why there is no such table, and what to do."""
    reasons = {line.reason for line in rooflines(report).values() if line.reason is not None}
    why = "; ".join(sorted(reasons)) or "no trial of this report measured the machine's peaks"
    return f"no roofline: {why}"
