"""`harness doctor`: what would stop a run on this machine, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.writing import output_options, target_of, write
from harness.machine.doctor import diagnose, exit_code
from harness.machine.doctor_facts import gather
from harness.output.builders.doctor import diagnosis_document


@click.command(epilog="For example:  harness doctor --offline")
@click.option(
    "--reports",
    type=click.Path(path_type=Path),
    default=Path("reports"),
    show_default=True,
    help="Where run directories would go.",
)
@click.option("--offline/--no-offline", help="Do not ask whether the Hub can be reached.")
@click.option("--json/--no-json", "as_json", help="The same as --format json.")
@output_options("diagnosis", "-o")
def command(*, reports: Path, offline: bool, as_json: bool, wanted: str | None, output: Path | None) -> int:
    """Tell versions, devices, caches, disk, locks, the Hub and whatever else a run depends on.

    Each line begins with ok, warning or problem, and is followed by what to do. Nothing is changed, and the
    Hub is asked once, for a few seconds at most. The exit code is 0 if nothing would stop a run, and 69
    otherwise.
    """
    target = target_of("diagnosis", wanted, output, as_json=as_json)
    findings = diagnose(gather(reports, offline=offline))
    write(diagnosis_document(findings), target)
    return exit_code(findings)
