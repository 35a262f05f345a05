"""`harness doctor`: list what would stop a run on this machine, and how to fix it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.cli.run_options import field_option
from harness.cli.shared_options import harness_command, option, output_options
from harness.cli.writing_results import Target, write
from harness.machine.diagnosis import diagnose, exit_code
from harness.machine.doctor_facts import gather
from harness.output.builders.this_machine import diagnosis_document
from harness.running.ray.ray_nodes import look_at_cluster


@harness_command("doctor", epilog="For example:  harness doctor --offline")
@field_option("reports")
@field_option("ray_address")
@option("--offline/--no-offline", help="Do not ask whether the Hub can be reached.", group="Where")
@output_options("diagnosis")
def command(reports: Path, ray_address: str | None, offline: bool, target: Target) -> int:
    """Check versions, devices, caches, disk, locks, the Hub and everything else that a run depends on.

    Each line begins with ok, warning or problem, followed by what to do. Nothing is changed, and the Hub is
    asked once, for a few seconds at most. A Ray cluster is asked for its nodes if its address is given, or if
    this machine is a node of one. The exit code is 0 if nothing would stop a run, and 69 otherwise.
    """
    facts = replace(gather(reports, offline=offline), cluster=look_at_cluster(ray_address))
    findings = diagnose(facts)
    write(diagnosis_document(findings), target)
    return exit_code(findings)
