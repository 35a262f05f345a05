"""A comparison as a document: words first, then what they rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis.comparison.compared_rows import MOST_ALIKE
from harness.analysis.comparison.models import Comparison, ComparisonRow, Mismatch
from harness.analysis.machines import machines
from harness.model.looks import Verdict
from harness.model.metrics import metric_named
from harness.model.results import Report
from harness.model.status import CaseStatus
from harness.output.builders.charts_of_comparison import comparison_charts, machine_charts, machine_table
from harness.output.builders.effects import bounds, change, detectable, margin_text, p_value
from harness.output.builders.explanation import MOST_NOTES, Texts, cut, differences
from harness.output.document import Case, Column, Document, Later, Table, Tone, Value
from harness.output.numbers import amount
from harness.words import count

_MOST_VARIANTS: Final = 6
_CASE_OF: Final[dict[Verdict, CaseStatus]] = {
    "better": "passed",
    "same": "passed",
    "same function": "passed",
    "unsure": "skipped",
    "worse": "failed",
    "missing": "error",
    "failed": "error",
    "not comparable": "skipped",
}
_MOST_NAMED: Final = 3
_ORDER: Final[tuple[Verdict, ...]] = (
    "worse", "failed", "missing", "not comparable", "unsure", "better", "same", "same function"
)  # fmt: skip
_TONES: Final[dict[Verdict, Tone]] = {"better": "good", "worse": "bad", "failed": "bad"}


def comparison_document(
    comparison: Comparison, reports: Sequence[tuple[str, Report]] = (), texts: Texts | None = None
) -> Document:
    """The rows, the terms of their verdicts, and what differs if that was asked for.

    Args:
        comparison: from `compare`.
        reports: the compared reports by name, which a page of several machines needs.
        texts: the texts of the evaluation examples, by example id, shown for flipped ones.
    """
    devices = machines(reports)
    axis = f"{comparison.by}: " if comparison.by else ""
    title = f"{axis}{', '.join(comparison.candidates)} against {comparison.baseline}"
    return Document(
        kind="comparison",
        title=title,
        model=comparison,
        answer=answer(comparison),
        summary=tuple(subtitles(comparison)),
        charts=(*machine_charts(devices), *comparison_charts(comparison)),
        tables=(
            Table("Verdicts", _columns(comparison)),
            *([machine_table(devices)] if devices is not None else []),
            *differences(comparison, texts or {}),
        ),
        notes=tuple(notes(comparison)),
        name=title,
        records=Later(lambda: map(_record, comparison.rows)),
        cases=Later(lambda: _cases(comparison)),
    )


def _columns(comparison: Comparison) -> tuple[Column, ...]:
    """The columns in reading order, verdict before its reasons."""
    rows = comparison.rows
    devices = any(row.across_devices for row in rows)
    tones = tuple(_TONES.get(row.verdict, "") for row in rows)
    candidates = Column(
        comparison.by or "report", tuple(_candidate(row, devices) for row in rows), numeric=False
    )
    return (
        Column("variant", tuple(row.variant for row in rows), numeric=False),
        # Of a single candidate the title speaks already.
        *([candidates] if devices or len(comparison.candidates) > 1 else []),
        Column("metric", tuple(metric_named(row.metric).label for row in rows), numeric=False),
        Column("verdict", tuple(row.verdict for row in rows), numeric=False, tones=tones),
        Column("change", tuple(change(row) for row in rows)),
        Column("interval", tuple(bounds(row) for row in rows)),
        Column("p (Holm)", tuple(p_value(row.p_holm) for row in rows), dispensable=True),
        Column("min. detectable", tuple(detectable(row) for row in rows)),
        Column("baseline", tuple(amount(row.metric, row.baseline.value) for row in rows), dispensable=True),
        Column("candidate", tuple(amount(row.metric, row.candidate.value) for row in rows), dispensable=True),
    )


def _candidate(row: ComparisonRow, with_device: bool) -> str:
    device = row.candidate.device
    return f"{row.candidate.name} ({device})" if with_device and device else row.candidate.name


def _record(row: ComparisonRow) -> dict[str, Value]:
    """The row as a line of CSV: raw numbers in base units."""
    low, high = row.interval or (None, None)
    lost, gained = row.discordant or (None, None)
    return {
        "variant": row.variant,
        "baseline": row.baseline.name,
        "candidate": row.candidate.name,
        "baseline_device": row.baseline.device or "",
        "candidate_device": row.candidate.device or "",
        "metric": row.metric,
        "unit": row.unit,
        "verdict": row.verdict,
        "kind": row.kind,
        "baseline_value": row.baseline.value,
        "candidate_value": row.candidate.value,
        "effect": row.effect,
        "low": low,
        "high": high,
        "coverage": row.coverage,
        "test": row.test or "",
        "p": row.p,
        "p_holm": row.p_holm,
        "pair_p": row.pair_p,
        "detectable": row.detectable,
        "only_baseline_right": lost,
        "only_candidate_right": gained,
        "across_devices": row.across_devices,
        "seeds": len(row.seeds),
        "dropped_seeds": len(row.dropped_seeds),
        "mismatches": ", ".join(row.mismatches),
        "notes": "; ".join(row.notes),
        "assets": "; ".join(row.assets),
        "next_step": row.next_step or "",
    }


def _cases(comparison: Comparison) -> list[Case]:
    """One case a row: worse failed, a lost trial is an error, undecided and incomparable rows are skipped."""
    return [
        Case(
            name=f"{row.variant} {row.metric}, {row.candidate.name} against {row.baseline.name}",
            classname="harness.compare",
            status=_CASE_OF[row.verdict],
            message=f"{row.verdict}: {change(row)}, interval {bounds(row)}",
            details="\n".join([*row.notes, *([row.next_step] if row.next_step else [])]),
        )
        for row in comparison.rows
    ]


def subtitles(comparison: Comparison) -> list[str]:
    """The terms that the words were found on."""
    tests = sum(row.p is not None for row in comparison.rows)
    lines = [
        f"verdicts at {100 * comparison.alpha:g} %, adjusted by Holm over {count(tests, 'test')}; "
        f"quality variances from {comparison.resamples:,} resamples",
    ]
    if comparison.margins:
        margins = ", ".join(
            f"{metric_named(metric).label} ±{margin_text(metric, margin)}"
            for metric, margin in comparison.margins.items()
        )
        lines.append(f"same: inside {margins}, by two one-sided tests at {100 * comparison.alpha:g} %")
    if proven := _parity(comparison):
        lines.append(f"parity with the plain model: {proven}")
    if proven := _parity_of_both(comparison):
        lines.append(f"parity of both sides with each other: {proven}")
    if comparison.noise:
        bands = ", ".join(f"{metric} ±{100 * band:.3g} %" for metric, band in comparison.noise.items())
        capped = any(band > MOST_ALIKE for band in comparison.noise.values())
        alike = f"; at most ±{100 * MOST_ALIKE:g} % is the same" if capped else ""
        lines.append(f"noise of the machine: {bands}{alike}")
    if comparison.allowed_mismatches:
        lines.append(f"allowed to differ: {', '.join(comparison.allowed_mismatches)}")
    return lines


def _parity(comparison: Comparison) -> str:
    """`exact for dynamic; unpadded, differs for bucketed`, from whichever reports prove something."""
    several = len({row.variant for row in comparison.rows}) > 1
    found: dict[str, dict[str, None]] = {}
    for row in comparison.rows:
        for side in (row.baseline, row.candidate):
            if side.parity is not None:
                name = f"{row.variant}, {side.name}" if several else side.name
                found.setdefault(side.parity, {})[name] = None
    return ", ".join(f"{verdict} for {_some(list(names))}" for verdict, names in found.items())


def _parity_of_both(comparison: Comparison) -> str:
    several = len({row.variant for row in comparison.rows}) > 1
    found: dict[str, dict[str, None]] = {}
    for row in comparison.rows:
        if row.parity is not None and row.parity != "unproven":
            name = f"{row.variant}, {row.candidate.name}" if several else row.candidate.name
            found.setdefault(row.parity, {})[name] = None
    return ", ".join(f"{verdict} for {_some(list(names))}" for verdict, names in found.items())


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_VARIANTS} more" if len(names) > _MOST_VARIANTS else ""
    return f"{'; '.join(names[:_MOST_VARIANTS])}{more}"


def notes(comparison: Comparison) -> list[str]:
    """Every replaced asset, mismatch and reason of a verdict with its rows, and how to decide unsure rows."""
    lines = [
        *dict.fromkeys(each for row in comparison.rows for each in row.assets),
        *(_mismatch(each) for each in comparison.mismatches),
        *_reasons(comparison),
        *comparison.notes,
    ]
    lines += _next_steps(comparison)
    if any(row.verdict == "unsure" and row.detectable is not None for row in comparison.rows):
        lines.append("min. detectable: what a repetition finds in 80 % of cases, after the adjustment")
    return cut(lines, MOST_NOTES)


def _next_steps(comparison: Comparison) -> Iterator[str]:
    """Each next step once, with the rows it decides."""
    found: dict[str, dict[str, None]] = {}
    for row in comparison.rows:
        if row.next_step is not None:
            found.setdefault(row.next_step, {})[f"{row.variant}, {row.candidate.name}, {row.metric}"] = None
    for step, rows in found.items():
        yield f"to decide {_some(list(rows))}: {step}"


def _mismatch(found: Mismatch) -> str:
    outcome = (
        "allowed"
        if found.allowed
        else f"{found.affects} not comparable, unless `--allow-mismatch {found.name}`"
    )
    rows = count(found.rows, "variant")
    what = f"{found.name} differs" if found.before != found.after else found.name
    return f"{what}, {found.candidate}, {rows}: {found.before} against {found.after}: {outcome}"


def _reasons(comparison: Comparison) -> Iterator[str]:
    """Return each reason once, with its rows unless it applies to all."""
    found: dict[str, dict[str, None]] = {}
    for row in comparison.rows:
        for note in row.notes:
            found.setdefault(note, {})[f"{row.variant}, {row.candidate.name}, {row.metric}"] = None
    for note, rows in found.items():
        yield note if len(rows) == len(comparison.rows) else f"{note} ({_some(list(rows))})"


def answer(comparison: Comparison) -> str:
    """Count the verdicts, the worst ones named: `2 worse (static F1 -8.7 points), 1 better`."""
    counts = Counter(row.verdict for row in comparison.rows)
    parts = []
    for verdict in _ORDER:
        rows = [row for row in comparison.rows if row.verdict == verdict]
        named = [
            f"{row.variant} {metric_named(row.metric).label} {change(row)}"
            for row in rows[:_MOST_NAMED]
            if verdict in ("worse", "better")
        ]
        more = [f"{len(rows) - _MOST_NAMED} more"] if named and len(rows) > _MOST_NAMED else []
        if rows:
            parts.append(
                f"{counts[verdict]} {verdict}" + (f" ({'; '.join([*named, *more])})" if named else "")
            )
    return ", ".join(parts)
