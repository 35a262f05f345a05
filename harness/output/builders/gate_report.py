"""A check as a document, and its verdict in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.analysis.gates.cases import OF_EVERY_VARIANT, CaseVerdict, GateCase, GateReport, Outcome
from harness.model.status import CaseStatus
from harness.output.builders.charts_of_comparison import gate_charts
from harness.output.document import Case, Column, Document, Later, Table, Tone, Value
from harness.words import count

_MOST_NOTES: Final = 40
_WORDS: Final[dict[Outcome, str]] = {
    "pass": "PASS",
    "unsure": "UNSURE",
    "fail": "FAIL",
    "not comparable": "FAIL",
}
_TONES: Final[dict[str, Tone]] = {"failed": "bad", "not comparable": "bad"}


def verdict_line(found: GateReport) -> str:
    """`harness check: UNSURE 7 gates, 0 failed, 1 unsure, 1 under-powered`, which scripts look for."""
    word = _WORDS[found.outcome]
    barred = found.count("not comparable")
    more = f", {barred} not comparable" if barred else ""
    if found.underpowered:
        more += f", {found.underpowered} under-powered"
    return (
        f"harness check: {word} {count(len(found.cases), 'gate')}, {found.count('failed')} failed, "
        f"{found.count('unsure')} unsure{more}"
    )


def gates_document(found: GateReport) -> Document:
    """Build the table of cases, worst first, with their terms and the next step of unsure ones."""
    against = f", against run {found.baseline}" if found.baseline is not None else ""
    return Document(
        kind="check",
        title=f"gates of {found.suite}, run {found.report}{against}",
        outcome=_WORDS[found.outcome],
        model=found,
        answer=verdict_line(found).removeprefix("harness check: "),
        summary=tuple(_terms(found)),
        charts=gate_charts(found),
        tables=(Table("Gates", _columns(found)),),
        notes=tuple(_notes(found)),
        name=f"gates of {found.suite}",
        records=Later(lambda: map(_record, found.cases)),
        cases=Later(lambda: _cases(found)),
        verdict=(verdict_line(found),),
    )


def _columns(found: GateReport) -> tuple[Column, ...]:
    """Return the columns: rule, variant, verdict and finding."""
    rules, variants, verdicts, reasons = zip(*_rows(found.cases), strict=True) if found.cases else ((),) * 4
    tones = tuple(_TONES.get(verdict, "") for verdict in verdicts)
    return (
        Column("gate", rules, numeric=False),
        Column("variant", variants, numeric=False),
        Column("verdict", verdicts, numeric=False, tones=tones),
        Column("found", reasons, numeric=False),
    )


def _rows(cases: Sequence[GateCase]) -> list[tuple[str, str, str, str]]:
    order: dict[CaseVerdict, int] = {"failed": 0, "not comparable": 1, "unsure": 2, "passed": 3}
    rows: list[tuple[str, str, str, str]] = []
    counted: dict[str, list[GateCase]] = {}
    for case in sorted(cases, key=lambda case: order[case.verdict]):
        if case.verdict == "passed" and case.kind in OF_EVERY_VARIANT:
            counted.setdefault(case.rule, []).append(case)
        else:
            rows.append((case.rule, case.variant, case.verdict, case.reason))
    for rule, equal in counted.items():
        only = equal[0]
        one = len(equal) == 1
        variant = only.variant if one else count(len(equal), "variant")
        rows.append((rule, variant, "passed", only.reason if one else ""))
    return rows


def _terms(found: GateReport) -> list[str]:
    lines = [f"what the statistics cannot settle is unsure, and {_unsure(found)}"]
    if found.noise:
        bands = ", ".join(f"{metric} ±{100 * band:.2g} %" for metric, band in found.noise.items())
        lines.append(f"noise of the machine: {bands}")
    if found.allowed_mismatches:
        lines.append(f"allowed to differ: {', '.join(found.allowed_mismatches)}")
    return lines


def _unsure(found: GateReport) -> str:
    return "passes with a warning" if found.on_unsure == "warn" else "fails"


def _notes(found: GateReport) -> list[str]:
    told = dict.fromkeys(f"{case.rule}: {note}" for case in found.cases for note in case.notes)
    assets = dict.fromkeys(each for case in found.cases for each in case.assets)
    lines = [*assets, *found.notes, *told, *_next_steps(found)]
    if len(lines) <= _MOST_NOTES:
        return lines
    return [*lines[:_MOST_NOTES], f"and {len(lines) - _MOST_NOTES:,} more: `--format json` has all"]


def _next_steps(found: GateReport) -> list[str]:
    """Each next step once, with the gates and variants it concerns, and a word on gates without power."""
    steps: dict[str, list[str]] = {}
    for case in found.cases:
        if case.next_step is not None:
            steps.setdefault(case.next_step, []).append(f"{case.rule}, {case.variant}")
    lines = [f"to decide {'; '.join(cases[:6])}: {step}" for step, cases in steps.items()]
    if found.underpowered:
        lines.append(
            f"warning: {count(found.underpowered, 'gate')} under-powered: a drop of twice the allowed one "
            "is detected in less than 80 % of cases"
        )
    return lines


def _record(case: GateCase) -> dict[str, Value]:
    """The case as a line of CSV: raw numbers in base units."""
    low, high = case.interval or (None, None)
    return {
        "gate": case.rule,
        "kind": case.kind,
        "variant": case.variant,
        "verdict": case.verdict,
        "metric": case.metric or "",
        "unit": case.unit or "",
        "value": case.value,
        "baseline": case.baseline,
        "drop": case.drop,
        "limit": case.limit,
        "low_95": low,
        "high_95": high,
        "detectable": case.detectable,
        "reason": case.reason,
        "notes": "; ".join(case.notes),
        "assets": "; ".join(case.assets),
    }


def _cases(found: GateReport) -> list[Case]:
    """One test case a gate: unsure is skipped, or failed where it fails; not comparable is an error."""
    words: dict[CaseVerdict, CaseStatus] = {
        "passed": "passed",
        "failed": "failed",
        "unsure": "skipped" if found.on_unsure == "warn" else "failed",
        "not comparable": "error",
    }
    return [
        Case(
            name=f"{case.rule}: {case.variant}",
            classname=f"harness.{found.suite}.{case.kind}",
            status=words[case.verdict],
            message=f"{case.verdict}: {case.reason}",
            details="\n".join([*case.notes, *([case.next_step] if case.next_step else [])]),
        )
        for case in found.cases
    ]
