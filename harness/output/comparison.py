"""A comparison in every format: words first, then what they rest on."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from typing import Final

from rich.console import RenderableType

from harness.analysis.comparison.models import Comparison, ComparisonRow, Verdict
from harness.model.metrics import METRICS
from harness.model.status import CaseStatus
from harness.output.cases import Case
from harness.output.cells import Column
from harness.output.comparison_cells import bounds, change, detectable, p_value
from harness.output.comparison_notes import explanation_lines, notes, subtitles, title
from harness.output.formats.github import to_annotations
from harness.output.formats.json_text import to_json_text
from harness.output.formats.junit import to_junit
from harness.output.formats.markdown import markdown_table, markdown_text
from harness.output.formats.spreadsheet import csv_cell
from harness.output.numbers import amount
from harness.output.safe_text import safe_text
from harness.output.tables import LONGEST_NOTE, FittedTable, plain, safe_column

Render = Callable[[Comparison], str]


def comparison_table(comparison: Comparison) -> RenderableType:
    """The table with what must be known to read it; it takes the width it is given."""
    lines = [*notes(comparison), *explanation_lines(comparison)]
    return FittedTable(
        title=safe_text(title(comparison), LONGEST_NOTE),
        subtitles=[safe_text(line, LONGEST_NOTE) for line in subtitles(comparison)],
        columns=[safe_column(column) for column in comparison_columns(comparison)],
        notes=[safe_text(line, LONGEST_NOTE) for line in lines],
    )


def comparison_columns(comparison: Comparison) -> list[Column]:
    """The columns in reading order, verdict before its reasons; cells are raw text."""
    rows = comparison.rows
    devices = any(row.across_devices for row in rows)
    candidates = Column(
        comparison.by or "report", tuple(_candidate(row, devices) for row in rows), numeric=False
    )
    return [
        Column("variant", tuple(row.variant for row in rows), numeric=False),
        # Of a single candidate the title speaks already.
        *([candidates] if devices or len(comparison.candidates) > 1 else []),
        Column("metric", tuple(METRICS[row.metric].label for row in rows), numeric=False),
        Column("verdict", tuple(row.verdict for row in rows), numeric=False),
        Column("change", tuple(change(row) for row in rows)),
        Column("interval", tuple(bounds(row) for row in rows)),
        Column("p (Holm)", tuple(p_value(row.p_holm) for row in rows), dispensable=True),
        Column("min. detectable", tuple(detectable(row) for row in rows)),
        Column("baseline", tuple(amount(row.metric, row.baseline.value) for row in rows), dispensable=True),
        Column("candidate", tuple(amount(row.metric, row.candidate.value) for row in rows), dispensable=True),
    ]


def _candidate(row: ComparisonRow, with_device: bool) -> str:
    device = row.candidate.device
    return f"{row.candidate.name} ({device})" if with_device and device else row.candidate.name


def to_table(comparison: Comparison) -> str:
    """The table as plain text, for a file or a pipe."""
    return plain(comparison_table(comparison))


def to_markdown(comparison: Comparison) -> str:
    """The table, its notes, and the explanation where there is one."""
    sections = [
        f"# {markdown_text(title(comparison))}",
        _list(subtitles(comparison)),
        markdown_table(comparison_columns(comparison)),
        _list(notes(comparison)),
    ]
    if comparison.explanation is not None:
        sections += ["## What differs", _list(explanation_lines(comparison))]
    return "\n\n".join(section for section in sections if section) + "\n"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {markdown_text(line)}" for line in lines)


def to_csv(comparison: Comparison) -> str:
    """A line for each row, raw numbers in base units; an empty cell is not known."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    records = [_record(row) for row in comparison.rows]
    writer.writerow(csv_cell(name) for name in records[0])
    for record in records:
        writer.writerow(csv_cell(cell) if isinstance(cell, str) else cell for cell in record.values())
    return out.getvalue()


def _record(row: ComparisonRow) -> dict[str, str | float]:
    low, high = row.interval or ("", "")
    lost, gained = row.discordant or ("", "")
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
        **{
            name: "" if number is None else number
            for name, number in (
                ("baseline_value", row.baseline.value),
                ("candidate_value", row.candidate.value),
                ("effect", row.effect),
            )
        },
        "low": low,
        "high": high,
        "coverage": "" if row.coverage is None else row.coverage,
        "test": row.test or "",
        **{
            name: "" if number is None else number
            for name, number in (
                ("p", row.p),
                ("p_holm", row.p_holm),
                ("pair_p", row.pair_p),
                ("detectable", row.detectable),
            )
        },
        "only_baseline_right": lost,
        "only_candidate_right": gained,
        "across_devices": "yes" if row.across_devices else "no",
        "seeds": len(row.seeds),
        "dropped_seeds": len(row.dropped_seeds),
        "mismatches": ", ".join(row.mismatches),
        "notes": "; ".join(row.notes),
        "next_step": row.next_step or "",
    }


_CASE_OF: Final[dict[Verdict, CaseStatus]] = {
    "better": "passed",
    "same": "passed",
    "unsure": "passed",
    "worse": "failed",
    "missing": "error",
    "failed": "error",
    "not comparable": "skipped",
}


def comparison_cases(comparison: Comparison) -> list[Case]:
    """One case a row: worse failed, a lost trial is an error, what is not comparable was skipped."""
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


def _to_junit(comparison: Comparison) -> str:
    return to_junit(title(comparison), comparison_cases(comparison))


def _to_github(comparison: Comparison) -> str:
    return to_annotations(comparison_cases(comparison))


COMPARISON_FORMATS: Final[dict[str, Render]] = {
    "table": to_table,
    "markdown": to_markdown,
    "csv": to_csv,
    "json": to_json_text,
    "junit": _to_junit,
    "github": _to_github,
}
