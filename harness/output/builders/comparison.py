"""A comparison as a document: words first, then what they rest on.

The table shows values, changes and intervals in the unit that a reader expects.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from harness.analysis.comparison.models import (
    Comparison,
    ComparisonRow,
    FieldChange,
    Flip,
    Flips,
    Mismatch,
    Verdict,
)
from harness.model.metrics import METRICS
from harness.model.status import CaseStatus
from harness.output.document import Case, Column, Document, Table, Tone, Value
from harness.output.numbers import NOTHING, amount, difference, significant
from harness.words import count


def change(row: ComparisonRow) -> str:
    """`+0.4 points`, `-0.012`, `1.52 x`."""
    if row.effect is None:
        return NOTHING
    if row.kind == "ratio":
        return f"{_ratio(row.effect)} x"
    return difference(row.metric, row.effect)


def bounds(row: ComparisonRow) -> str:
    """`-1.7 to +2.5 (95 %)`, `1.48 to 1.55 (98.3 %)`: the interval that decided, in the change's unit."""
    if row.interval is None or row.coverage is None:
        return NOTHING
    low, high = row.interval
    show = _ratio if row.kind == "ratio" else partial(_without_unit, row.metric)
    return f"{show(low)} to {show(high)} ({_coverage(row.coverage)})"


def _coverage(share: float) -> str:
    """`95 %`, `99.2 %`: as many digits as tell it from 100 %."""
    text = f"{100 * share:.1f}" if share < 0.9995 else f"{100 * share:.3f}"
    return f"{text.rstrip('0').rstrip('.')} %"


def margin_text(metric: str, margin: float) -> str:
    """A margin in the unit that people read: `2 points`, `0.04`."""
    return f"{100 * margin:g} points" if METRICS[metric].shown == "percent" else f"{margin:g}"


def p_value(p: float | None) -> str:
    """Three decimals, and never a zero."""
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def detectable(row: ComparisonRow) -> str:
    """The smallest effect that a repetition would find, where the verdict is `unsure`."""
    if row.verdict != "unsure":
        return ""
    if row.detectable is None:
        return NOTHING if row.p is None else "no effect: add seeds"
    if row.kind == "ratio":
        return f"{_ratio(row.detectable)} x"
    return difference(row.metric, row.detectable).lstrip("+")


def _without_unit(metric: str, value: float) -> str:
    return difference(metric, value).removesuffix(" points")


def _ratio(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= value < 10 else significant(value)


MOST_NOTES: Final = 40
_MOST_EXAMPLES: Final = 20
_MOST_VARIANTS: Final = 6
_CASE_OF: Final[dict[Verdict, CaseStatus]] = {
    "better": "passed",
    "same": "passed",
    "unsure": "passed",
    "worse": "failed",
    "missing": "error",
    "failed": "error",
    "not comparable": "skipped",
}
_TONES: Final[dict[Verdict, Tone]] = {"better": "good", "worse": "bad", "failed": "bad"}


def comparison_document(comparison: Comparison) -> Document:
    """The rows, the terms of their verdicts, and what differs if that was asked for."""
    axis = f"{comparison.by}: " if comparison.by else ""
    title = f"{axis}{', '.join(comparison.candidates)} against {comparison.baseline}"
    differences = explanation_lines(comparison)
    return Document(
        kind="comparison",
        title=title,
        model=comparison,
        summary=tuple(subtitles(comparison)),
        tables=(
            Table("Verdicts", _columns(comparison)),
            *([Table("What differs", notes=tuple(differences))] if differences else []),
        ),
        notes=tuple(notes(comparison)),
        name=title,
        records=[_record(row) for row in comparison.rows],
        cases=_cases(comparison),
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
        Column("metric", tuple(METRICS[row.metric].label for row in rows), numeric=False),
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
        "next_step": row.next_step or "",
    }


def _cases(comparison: Comparison) -> list[Case]:
    """One case a row: worse failed, a lost trial is an error, incomparable rows are skipped."""
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
            f"{METRICS[metric].label} ±{margin_text(metric, margin)}"
            for metric, margin in comparison.margins.items()
        )
        lines.append(f"same: inside {margins}, by two one-sided tests at {100 * comparison.alpha:g} %")
    if proven := _parity(comparison):
        lines.append(f"parity with the plain model: {proven}")
    if proven := _parity_of_both(comparison):
        lines.append(f"parity of both sides with each other: {proven}")
    if comparison.noise:
        bands = ", ".join(f"{metric} ±{100 * band:.3g} %" for metric, band in comparison.noise.items())
        lines.append(f"noise of the machine: {bands}")
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
    """Every mismatch, every reason for a verdict with its rows, and how to decide unsure rows."""
    lines = [
        *(_mismatch(each) for each in comparison.mismatches),
        *_reasons(comparison),
        *comparison.notes,
    ]
    lines += _next_steps(comparison)
    if any(row.verdict == "unsure" and row.detectable is not None for row in comparison.rows):
        lines.append("min. detectable: what a repetition finds in 80 % of cases, after the adjustment")
    return _cut(lines, MOST_NOTES)


def _next_steps(comparison: Comparison) -> Iterator[str]:
    """Each next step once, with the rows it decides."""
    found: dict[str, dict[str, None]] = {}
    for row in comparison.rows:
        if row.next_step is not None:
            found.setdefault(row.next_step, {})[f"{row.variant}, {row.candidate.name}, {row.metric}"] = None
    for step, rows in found.items():
        yield f"to decide {_some(list(rows))}: {step}"


def _cut(lines: list[str], most: int) -> list[str]:
    if len(lines) <= most:
        return lines
    return [*lines[:most], f"and {count(len(lines) - most, 'line')} more: `--format json` has all"]


def explanation_lines(comparison: Comparison) -> list[str]:
    """What differs in environment, configuration and inputs, what flipped; empty if not asked."""
    explained = comparison.explanation
    if explained is None:
        return []
    changes = [
        *(_change("environment", each) for each in explained.environment),
        *(_change("configuration", each) for each in explained.configuration),
        *(_change("input", each) for each in explained.inputs),
    ]
    flips = [line for each in explained.flips for line in _flips(each)]
    return [
        *(_cut(changes, MOST_NOTES) or ["environment, configuration and inputs are the same"]),
        *(_cut(flips, MOST_NOTES) or ["no example is classified otherwise"]),
    ]


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


def _change(kind: str, change: FieldChange) -> str:
    before, after = (NOTHING if text is None else text for text in (change.before, change.after))
    return f"{kind}, {change.candidate}: {change.field}: {before} against {after}"


def _flips(found: Flips) -> Iterator[str]:
    seeds = dict.fromkeys(flip.seed for flip in found.flips)
    for seed in seeds:
        flips = [flip for flip in found.flips if flip.seed == seed]
        shown = ", ".join(_flip(flip) for flip in flips[:_MOST_EXAMPLES])
        more = f" and {len(flips) - _MOST_EXAMPLES} more" if len(flips) > _MOST_EXAMPLES else ""
        examples = count(len(flips), "example")
        yield f"flipped, {found.variant}, {found.candidate}, seed {seed}, {examples}: {shown}{more}"


def _flip(flip: Flip) -> str:
    """`17 (0 to 1, now right)`."""
    outcome = "now right" if flip.after == flip.label else "now wrong"
    if flip.label not in (flip.before, flip.after):
        outcome = "wrong either way"
    return f"{flip.example_id} ({flip.before} to {flip.after}, {outcome})"
