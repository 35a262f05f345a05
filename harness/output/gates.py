"""A check as a table, Markdown, CSV, JSON, JUnit or annotations, and the one line that tells how it ended."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import RenderableType

from harness.analysis.gates.models import CaseVerdict, GateCase, GateReport, Outcome
from harness.model.status import CaseStatus
from harness.output.cases import Case
from harness.output.cells import Column
from harness.output.formats.github import to_annotations
from harness.output.formats.json_text import to_json_text
from harness.output.formats.junit import to_junit
from harness.output.formats.markdown import markdown_table, markdown_text
from harness.output.formats.spreadsheet import csv_cell
from harness.output.safe_text import safe_text
from harness.output.tables import LONGEST_NOTE, FittedTable, plain, safe_column
from harness.words import count

Render = Callable[[GateReport], str]

# These hold for every variant alike; when they pass, one line says so for all.
_FOR_ALL: Final = frozenset({"trials", "degenerate", "moved", "parity", "training", "baseline", "reference"})
_MOST_NOTES: Final = 40
_WORDS: Final[dict[Outcome, str]] = {
    "pass": "PASS",
    "unsure": "UNSURE",
    "fail": "FAIL",
    "not comparable": "FAIL",
}
_CSV_COLUMNS: Final = (
    *("gate", "kind", "variant", "verdict", "metric", "unit"),
    *("value", "baseline", "drop", "limit", "low_95", "high_95", "detectable", "reason", "notes"),
)


def verdict_line(found: GateReport) -> str:
    """`harness check: UNSURE 7 gates, 0 failed, 1 unsure, 1 under-powered`: what a script looks for."""
    word = _WORDS[found.outcome]
    barred = found.count("not comparable")
    more = f", {barred} not comparable" if barred else ""
    if found.underpowered:
        more += f", {found.underpowered} under-powered"
    return (
        f"harness check: {word} {count(len(found.cases), 'gate')}, {found.count('failed')} failed, "
        f"{found.count('unsure')} unsure{more}"
    )


def gate_table(found: GateReport) -> RenderableType:
    """The cases, worst first, with what must be known to read them."""
    return FittedTable(
        title=safe_text(title(found), LONGEST_NOTE),
        subtitles=[safe_text(line, LONGEST_NOTE) for line in _terms(found)],
        columns=[safe_column(column) for column in gate_columns(found)],
        notes=[safe_text(note, LONGEST_NOTE) for note in _notes(found)],
    )


def title(found: GateReport) -> str:
    """`gates of padding, run 2026…, against run 2025…`."""
    against = f", against run {found.baseline}" if found.baseline is not None else ""
    return f"gates of {found.suite}, run {found.report}{against}"


def gate_columns(found: GateReport) -> list[Column]:
    """Rule, variant, verdict and what was found; cells are raw text."""
    rows = _rows(found.cases)
    return [
        Column("gate", tuple(rule for rule, _, _, _ in rows), numeric=False),
        Column("variant", tuple(variant for _, variant, _, _ in rows), numeric=False),
        Column("verdict", tuple(verdict for _, _, verdict, _ in rows), numeric=False),
        Column("found", tuple(reason for _, _, _, reason in rows), numeric=False),
    ]


def _rows(cases: Sequence[GateCase]) -> list[tuple[str, str, str, str]]:
    order: dict[CaseVerdict, int] = {"failed": 0, "not comparable": 1, "unsure": 2, "passed": 3}
    rows: list[tuple[str, str, str, str]] = []
    counted: dict[str, list[GateCase]] = {}
    for case in sorted(cases, key=lambda case: order[case.verdict]):
        if case.verdict == "passed" and case.kind in _FOR_ALL:
            counted.setdefault(case.rule, []).append(case)
        else:
            rows.append((case.rule, case.variant, case.verdict, case.reason))
    for rule, alike in counted.items():
        only = alike[0]
        one = len(alike) == 1
        variant = only.variant if one else count(len(alike), "variant")
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
    lines = [*found.notes, *told, *_next_steps(found)]
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
            f"warning: {count(found.underpowered, 'gate')} under-powered: a drop of twice what is allowed "
            "is detected in less than 80 % of cases"
        )
    return lines


def to_table(found: GateReport) -> str:
    """The table as plain text."""
    return plain(gate_table(found))


def to_markdown(found: GateReport) -> str:
    """Verdict, table and notes, as a step summary shows them."""
    word = _WORDS[found.outcome]
    sections = [
        f"# {markdown_text(f'{word}: {title(found)}')}",
        _list(_terms(found)),
        markdown_table(gate_columns(found)),
        _list(_notes(found)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {markdown_text(line)}" for line in lines)


def to_csv(found: GateReport) -> str:
    """A line for each case, raw numbers in base units; an empty cell is not known."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerow(_CSV_COLUMNS)
    for case in found.cases:
        low, high = case.interval or (None, None)
        numbers = (case.value, case.baseline, case.drop, case.limit, low, high, case.detectable)
        words = (case.rule, case.kind, case.variant, case.verdict, case.metric or "", case.unit or "")
        writer.writerow(
            [csv_cell(word) for word in words]
            + ["" if number is None else number for number in numbers]
            + [csv_cell(case.reason), csv_cell("; ".join(case.notes))]
        )
    return out.getvalue()


def gate_cases(found: GateReport) -> list[Case]:
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


def gate_junit(found: GateReport) -> str:
    """JUnit XML with one case a gate."""
    return to_junit(f"gates of {found.suite}", gate_cases(found))


def gate_annotations(found: GateReport) -> str:
    """Annotations of what did not pass."""
    return to_annotations(gate_cases(found))


GATE_FORMATS: Final[dict[str, Render]] = {
    "table": to_table,
    "markdown": to_markdown,
    "csv": to_csv,
    "json": to_json_text,
    "junit": gate_junit,
    "github": gate_annotations,
}
