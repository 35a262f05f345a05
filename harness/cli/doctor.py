"""`harness doctor`: list what would stop a run on this machine, and how to fix it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.cli.options import field_option, harness_command, option, output_options
from harness.cli.writing import write_text
from harness.machine.doctor import Finding, diagnose, exit_code
from harness.machine.doctor_facts import gather
from harness.output.safe_text import safe_text

_LONGEST_LINE = 2_000


@harness_command("doctor", epilog="For example:  harness doctor --offline")
@field_option("reports")
@option("--offline/--no-offline", help="Do not ask whether the Hub can be reached.", group="Where")
@output_options(("table", "json"), "the findings")
def command(reports: Path, offline: bool, name: str, output: Path | None) -> int:
    """Check versions, devices, caches, disk, locks, the Hub and everything else that a run depends on.

    Each line begins with ok, warning or problem, followed by what to do. Nothing is changed, and the Hub is
    asked once, for a few seconds at most. The exit code is 0 if nothing would stop a run, and 69 otherwise.
    """
    findings = diagnose(gather(reports, offline=offline))
    code = exit_code(findings)
    if name == "json":
        document = {"findings": [found.model_dump() for found in findings], "exit_code": code}
        write_text(json.dumps(document, indent=2) + "\n", output)
    else:
        write_text("\n".join([*_lines(findings), _summary(findings)]) + "\n", output)
    return code


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    for found in findings:
        yield f"{found.level:8} {safe_text(found.what, _LONGEST_LINE)}"
        if found.advice is not None:
            yield f"{'':8} {safe_text(found.advice, _LONGEST_LINE)}"


def _summary(findings: Sequence[Finding]) -> str:
    problems = sum(found.level == "problem" for found in findings)
    if problems == 0:
        return "nothing here would stop a run"
    return f"{problems} {'problem' if problems == 1 else 'problems'} would stop a run"
