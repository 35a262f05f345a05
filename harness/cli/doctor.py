"""`harness doctor`: list what would stop a run on this machine, and how to fix it."""

from __future__ import annotations

from pathlib import Path

from harness.cli.options import field_option, harness_command, option, output_options
from harness.cli.writing import Target, write
from harness.machine.doctor import diagnose, exit_code
from harness.machine.doctor_facts import gather
from harness.output.builders.doctor import diagnosis_document


@harness_command("doctor", epilog="For example:  harness doctor --offline")
@field_option("reports")
@option("--offline/--no-offline", help="Do not ask whether the Hub can be reached.", group="Where")
@output_options("diagnosis")
def command(reports: Path, offline: bool, target: Target) -> int:
    """Check versions, devices, caches, disk, locks, the Hub and everything else that a run depends on.

    Each line begins with ok, warning or problem, followed by what to do. Nothing is changed, and the Hub is
    asked once, for a few seconds at most. The exit code is 0 if nothing would stop a run, and 69 otherwise.
    """
    findings = diagnose(gather(reports, offline=offline))
    write(diagnosis_document(findings), target)
    return exit_code(findings)
