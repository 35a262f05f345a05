"""`harness doctor`: what would stop a run on this machine, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from harness.machine.doctor import Finding, diagnose, exit_code
from harness.machine.doctor_facts import gather
from harness.output.safe_text import safe_text

_LONGEST_LINE = 2_000


@click.command(epilog="For example:  harness doctor --offline")
@click.option(
    "--reports",
    type=click.Path(path_type=Path),
    default=Path("reports"),
    show_default=True,
    help="Where run directories would go.",
)
@click.option("--offline/--no-offline", help="Do not ask whether the Hub can be reached.")
@click.option("--json/--no-json", "as_json", help="Print the findings as JSON.")
def command(reports: Path, offline: bool, as_json: bool) -> int:
    """Tell versions, devices, caches, disk, locks, the Hub and whatever else a run depends on.

    Each line begins with ok, warning or problem, and says what to do. Nothing is changed, and the Hub is
    asked once, for a few seconds at most. The exit code is 0 if nothing would stop a run, and 69 otherwise.
    """
    findings = diagnose(gather(reports, offline=offline))
    code = exit_code(findings)
    if as_json:
        document = {"findings": [found.model_dump() for found in findings], "exit_code": code}
        click.echo(json.dumps(document, indent=2))
        return code
    for found in findings:
        click.echo(f"{found.level:8} {safe_text(found.what, _LONGEST_LINE)}")
        if found.advice is not None:
            click.echo(f"{'':8} {safe_text(found.advice, _LONGEST_LINE)}")
    click.echo(_summary(findings))
    return code


def _summary(findings: Sequence[Finding]) -> str:
    problems = sum(found.level == "problem" for found in findings)
    if problems == 0:
        return "nothing here would stop a run"
    return f"{problems} {'problem' if problems == 1 else 'problems'} would stop a run"
