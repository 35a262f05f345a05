"""A diagnosis of this machine as a document: one row a finding, with the advice below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.machine.doctor import Finding, exit_code
from harness.model.status import CaseStatus
from harness.output.document import Case, Column, Document, Table, Tone
from harness.words import count

_CASE_OF: Final[dict[str, CaseStatus]] = {"ok": "passed", "warning": "skipped", "problem": "failed"}
_TONES: Final[dict[str, Tone]] = {"ok": "", "warning": "", "problem": "bad"}


def diagnosis_document(findings: tuple[Finding, ...]) -> Document:
    """The findings in their order; a problem is a failed case, a warning a skipped one."""
    problems = sum(found.level == "problem" for found in findings)
    return Document(
        kind="diagnosis",
        title="this machine",
        outcome="FAIL" if problems else "PASS",
        model={
            "findings": [found.model_dump() for found in findings],
            "exit_code": exit_code(findings),
        },
        tables=(Table("Findings", _columns(findings)),),
        layout="rows",
        name="harness doctor",
        cases=[
            Case(found.what, "harness.doctor", _CASE_OF[found.level], found.what, found.advice or "")
            for found in findings
        ],
        verdict=(
            f"{count(problems, 'problem')} would stop a run" if problems else "nothing here would stop a run",
        ),
    )


def _columns(findings: Sequence[Finding]) -> tuple[Column, ...]:
    levels = tuple(found.level for found in findings)
    return (
        Column("level", levels, numeric=False, tones=tuple(_TONES[level] for level in levels)),
        Column("finding", tuple(found.what for found in findings), numeric=False),
        Column("advice", tuple(found.advice or "" for found in findings), numeric=False, below=True),
    )
