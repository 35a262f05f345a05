"""The charts of a comparison, of a check and of several machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from harness.analysis.comparison.compared_rows import ratio_limits
from harness.analysis.comparison.models import Comparison, ComparisonRow
from harness.analysis.gates.cases import CaseVerdict, GateCase, GateReport
from harness.analysis.machines import Machines, Speed
from harness.model.looks import Verdict
from harness.model.metrics import METRICS, OWN, is_metric, metric_named
from harness.output.builders.effects import change, ends
from harness.output.document import Chart, Column, Table
from harness.output.drawings import Arrow, Arrows, Axis, Effect, Forest, Mark, Slope, Unit
from harness.output.numbers import NOTHING, amount, rate
from harness.words import count

MOST_ROWS: Final = 40
_MOST_ARROWS: Final = 12
_MARKS: Final[dict[Verdict, Mark]] = {
    "better": "better",
    "worse": "worse",
    "same": "same",
    "same function": "same",
    "unsure": "unsure",
}
_MARKS_OF_GATES: Final[dict[CaseVerdict, Mark]] = {
    "passed": "same",
    "failed": "worse",
    "unsure": "unsure",
    "not comparable": "quiet",
}


def comparison_charts(comparison: Comparison) -> tuple[Chart, ...]:
    """Return the forest of every verdict, one for each unit, and the arrows from baseline to candidate."""
    groups: dict[str, list[ComparisonRow]] = {}
    for row in comparison.rows:
        groups.setdefault(_group(row), []).append(row)
    forests = [_forest(comparison, group, rows, place) for place, (group, rows) in enumerate(groups.items())]
    return (*forests, *_arrows(comparison))


def _group(row: ComparisonRow) -> str:
    """Rows of one axis: all ratios, all differences in points, or the differences of one other metric."""
    if row.kind == "ratio":
        return "ratio"
    return "points" if metric_named(row.metric).shown == "percent" else row.metric


def _forest(comparison: Comparison, group: str, rows: Sequence[ComparisonRow], place: int) -> Chart:
    shown = rows[:MOST_ROWS]
    labels = list(dict.fromkeys(metric_named(row.metric).label for row in rows))
    title, axis = {
        "ratio": (f"Ratios: {', '.join(labels)}", Axis("candidate over baseline", "ratio", log=True)),
        "points": (
            f"Differences: {', '.join(labels)}",
            Axis("candidate minus baseline, points", "points", cut=True),
        ),
    }.get(
        group,
        (
            f"Differences: {', '.join(labels)}",
            Axis(f"candidate minus baseline, {labels[0]}", "number", cut=True),
        ),
    )
    counted = ", ".join(f"{n} {verdict}" for verdict, n in Counter(row.verdict for row in rows).items())
    return Chart(
        f"forest-own-{place}" if group.startswith(OWN) else f"forest-{group.replace('_', '-')}",
        title,
        f"{counted} of {count(len(rows), 'row')}",
        Forest(
            axis,
            1.0 if group == "ratio" else 0.0,
            tuple(_effect(comparison, row) for row in shown),
            names={"quiet": "no verdict"},
        ),
        notes=(
            "whiskers: the confidence interval behind the verdict, whose coverage the table has",
            *_left(len(rows), MOST_ROWS, "row"),
        ),
        lead=True,
        repeats=True,
    )


def _left(found: int, most: int, noun: str) -> list[str]:
    return [f"the first {most} of {count(found, noun)}; the table has all"] if found > most else []


def _effect(comparison: Comparison, row: ComparisonRow) -> Effect:
    several = len(comparison.candidates) > 1
    named = [row.variant, metric_named(row.metric).label, *([row.candidate.name] if several else [])]
    label = " · ".join(named)
    band = comparison.noise.get(row.metric)
    margin = comparison.margins.get(row.metric) if row.kind == "difference" else None
    return Effect(
        label,
        _MARKS.get(row.verdict, "quiet"),
        _words(row),
        row.effect,
        row.interval,
        None if margin is None else (-margin, margin),
        None if band is None or row.kind != "ratio" else ratio_limits(band),
    )


def _words(row: ComparisonRow) -> str:
    """`better 2.00 x (1.92 to 2.08)`; without an effect both numbers, so that none is lost."""
    if row.effect is None:
        values = [amount(row.metric, side.value) for side in (row.baseline, row.candidate)]
        return f"{row.verdict}: {values[0]} against {values[1]}" if values != [NOTHING] * 2 else row.verdict
    interval = f" ({ends(row)})" if row.interval is not None else ""
    return f"{row.verdict} {change(row)}{interval}"


def _arrows(comparison: Comparison) -> Iterator[Chart]:
    """Yield the move of each variant in speed and quality, where both were measured on equal devices."""
    by_pair: dict[tuple[str, str], dict[str, ComparisonRow]] = {}
    for row in comparison.rows:
        if row.variants == 1:
            by_pair.setdefault((row.variant, row.candidate.name), {})[row.metric] = row
    rates = [row.metric for row in comparison.rows if row.unit == "tokens/s"]
    scores = [
        row.metric
        for row in comparison.rows
        if row.metric in METRICS and METRICS[row.metric].family == "quality"
    ]
    if not rates or not scores:
        return
    speed, score = rates[0], scores[-1]
    several = len(comparison.candidates) > 1
    found = [
        Arrow(f"{variant}, {candidate}" if several else variant, *ends_of)
        for (variant, candidate), rows in by_pair.items()
        if (ends_of := _both_ends(rows.get(speed), rows.get(score))) is not None
    ]
    if not found:
        return
    label = metric_named(score).label
    unit: Unit = "percent" if metric_named(score).shown == "percent" else "number"
    yield Chart(
        "moves",
        f"{label} against speed: from baseline to candidate",
        "; ".join(
            f"{each.label}: {rate(each.start[0])} to {rate(each.end[0])} real tokens per second"
            for each in found[:_MOST_ARROWS]
        ),
        Arrows(
            Axis("real tokens per second", "rate"), Axis(label, unit, cut=True), tuple(found[:_MOST_ARROWS])
        ),
        notes=(
            f"hollow: baseline; the axis of {label} does not start at zero; only the forest shows verdicts",
            *_left(len(found), _MOST_ARROWS, "arrow"),
        ),
    )


def _both_ends(
    speed: ComparisonRow | None, score: ComparisonRow | None
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    if speed is None or score is None or speed.verdict == "not comparable" or speed.across_devices:
        return None
    values = (speed.baseline.value, score.baseline.value, speed.candidate.value, score.candidate.value)
    if any(value is None for value in values):
        return None
    a, b, c, d = (value or 0.0 for value in values)
    return (a, b), (c, d)


def gate_charts(found: GateReport) -> tuple[Chart, ...]:
    """Return the judged drops and bounds with their intervals and limits, one forest for each unit."""
    groups: dict[tuple[str, Unit], list[GateCase]] = {}
    for case in found.cases:
        if case.limit is not None and is_metric(case.metric or "") and (drawn := _unit(case)) is not None:
            groups.setdefault((case.kind, drawn), []).append(case)
    return tuple(
        _gates(found, kind, unit, cases, place) for place, ((kind, unit), cases) in enumerate(groups.items())
    )


def _unit(case: GateCase) -> Unit | None:
    """Points for drops of shares, percent of the baseline for relative drops; None for other units."""
    metric = metric_named(case.metric or "")
    if case.relative:
        return "percent"
    if metric.shown == "percent":
        return "points" if case.kind == "drop" else "percent"
    return "number" if metric.family == "quality" else None


def _gates(found: GateReport, kind: str, unit: Unit, cases: Sequence[GateCase], place: int) -> Chart:
    shown = cases[:MOST_ROWS]
    drop = kind == "drop"
    axis = Axis("drop against the baseline" if drop else "value", unit, cut=True)
    failed = sum(case.verdict == "failed" for case in cases)
    relative = unit == "percent" and drop
    return Chart(
        f"gates-{place}",
        f"Gates: {'drops' if drop else 'bounds'}{' relative to the baseline' if relative else ''}",
        f"{failed} failed of {count(len(cases), 'gate')}",
        Forest(
            axis,
            0.0 if drop else None,
            tuple(_gate(found, case, relative=relative) for case in shown),
            names={"same": "passed", "worse": "failed", "quiet": "not comparable"},
        ),
        notes=(
            f"whiskers: 95 % confidence intervals; dashed: the limit, {'above' if drop else 'beyond'} which "
            "a gate fails",
            *_left(len(cases), MOST_ROWS, "gate"),
        ),
        lead=True,
        repeats=True,
    )


def _gate(found: GateReport, case: GateCase, *, relative: bool) -> Effect:
    band = found.noise.get(case.metric or "") if relative else None
    return Effect(
        f"{case.rule} · {case.variant}",
        _MARKS_OF_GATES[case.verdict],
        case.verdict,
        case.drop if case.kind == "drop" else case.value,
        case.interval,
        None,
        None if band is None else (-band, band),
        case.limit,
    )


def machine_charts(found: Machines | None) -> tuple[Chart, ...]:
    """Return the slopes of ratios between machines; none without a baseline that all of them measured."""
    if found is None or found.baseline is None:
        return ()
    lines = tuple(
        (label, tuple(None if speed is None else speed.ratio for speed in speeds))
        for label, speeds in found.variants
        if any(speed is not None and speed.ratio is not None for speed in speeds)
    )
    return (
        Chart(
            "machines",
            "Speed relative to the same baseline on each machine",
            f"ratios of {count(len(lines), 'variant')} to {found.baseline} on {len(found.columns)} machines",
            Slope(
                Axis(f"real tokens/s over those of {found.baseline}", "ratio", log=True),
                tuple(names_of(found)),
                lines[:MOST_ROWS],
            ),
            notes=(
                "each ratio is within one machine: absolute speeds of different machines are in the table",
                *_left(len(lines), MOST_ROWS, "variant"),
            ),
            lead=True,
        ),
    )


def names_of(found: Machines) -> list[str]:
    """Return the devices, with their report where several have the same."""
    devices = [column.device for column in found.columns]
    return [
        column.device if devices.count(column.device) == 1 else f"{column.device}, {column.report}"
        for column in found.columns
    ]


def machine_table(found: Machines) -> Table:
    """Return the absolute speeds with their ratios and doubts, and the software stack of each machine."""
    stacks = [dict(column.stack) for column in found.columns]
    keys = list(dict.fromkeys(key for stack in stacks for key in stack))
    reports = [column.report for column in found.columns]
    named = ["report"] if any(reports) else []
    first = (*(label for label, _ in found.variants), *named, *keys)
    return Table(
        "Real tokens per second by machine",
        (
            Column("variant", first, numeric=False),
            *(
                Column(
                    name,
                    (
                        *(_speed_cell(speeds[at]) for _, speeds in found.variants),
                        *(reports[at : at + 1] if named else []),
                        *(stacks[at].get(key, NOTHING) for key in keys),
                    ),
                )
                for at, name in enumerate(names_of(found))
            ),
        ),
        notes=(
            f"in brackets: over {found.baseline} on the same machine"
            if found.baseline is not None
            else "no variant has a comparable speed on every machine: no ratios",
        ),
    )


def _speed_cell(speed: Speed | None) -> str:
    """`2.31k (1.18 x)`; a speed that is not comparable keeps its number, labelled."""
    if speed is None:
        return NOTHING
    words = rate(speed.value)
    if speed.ratio is not None:
        return f"{words} ({speed.ratio:.2f} x)"
    return f"{words} (not comparable: {speed.doubt})" if speed.doubt else words
