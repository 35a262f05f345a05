"""`harness check`: whether a report passes its gates; everything is written before the exit code is told."""

from __future__ import annotations

from pathlib import Path

import click

from harness.analysis.comparison.conditions import CONDITIONS, STORED_VALUE
from harness.analysis.gates.applying import check
from harness.analysis.gates.cases import OnUnsure
from harness.analysis.over_time.noise import bands_of, run_variance_of
from harness.cli.parsing import Names
from harness.cli.reports import read_baseline, read_history, read_report, select_variants
from harness.cli.run_options import field_option
from harness.cli.shared_options import (
    PATH,
    allow_mismatch_option,
    allow_unsealed_option,
    baseline_option,
    harness_command,
    history_option,
    option,
    output_options,
    report_argument,
    selection_option,
    suite_gates_option,
    verbosity_options,
)
from harness.cli.writing_results import Target, write
from harness.output.builders.gate_report import gates_document
from harness.store.noise_file import noise_for, stored_noise
from harness.suite.gate_files import parse_gate, read_gates


@harness_command(
    "check", epilog="For example:  harness check reports/padding/RUN --baseline main -g 'eval_f1>=0.86'"
)
@report_argument
@selection_option("What to compare")
@suite_gates_option
@option(
    "-g",
    "--gate",
    "typed",
    multiple=True,
    metavar="GATE",
    help="Judge by this gate too: 'eval_f1>=0.86', 'eval_accuracy drop<=0.02', 'train_seconds drop<=10%'. "
    "Repeatable.",
    group="Gates",
)
@option(
    "--gates",
    "gates_file",
    type=PATH,
    metavar="FILE",
    help="Judge by the gates of this file too: a YAML list as under a suite's `gates:`.",
    group="Gates",
)
@baseline_option("Gates")
@field_option("reports")
@option(
    "--on-unsure",
    type=Names(["warn", "fail", "more"]),
    default="warn",
    show_default=True,
    help="How to treat a gate that the data cannot decide: pass with a warning, fail, or fail and print how "
    "many seeds to add.",
    group="Gates",
)
@allow_mismatch_option([*CONDITIONS, STORED_VALUE])
@option(
    "--allow-degenerate/--no-allow-degenerate",
    help="Let trials pass that predict a single class.",
    group="Gates",
)
@history_option
@allow_unsealed_option
@output_options("check", every_failure=True)
@verbosity_options
def command(
    *,
    report: Path,
    selection: str | None,
    baseline: str | None,
    gates_file: Path | None,
    typed: tuple[str, ...],
    suite_gates: bool,
    on_unsure: OnUnsure,
    allow_mismatch: tuple[str, ...],
    allow_degenerate: bool,
    history: tuple[str, ...],
    allow_unsealed: bool,
    reports: Path,
    target: Target,
) -> int:
    """Judge REPORT, a report.json or the folder of a run, by its gates.

    Whatever the gates, every trial must have completed, none may predict a single class, no variant may have
    failed parity or mix inputs, no stored number may contradict another one and no score may lie more than 3
    points above the suite's reference. With a baseline, each of its trials must be there, with the same data,
    checkpoint files, truncation, model inputs, examples and metric version. A gate on a value that cannot be
    verified from the report fails.

    The exit code is 0 if no gate failed (unsure gates are warnings), 1 if one failed, 2 if the report, a
    gate or an option is invalid, and 3 if none of the bounds or none of the drops can be judged: nothing is
    comparable with the baseline, or the numbers are those of stand-ins.

    The last line reads `harness check: PASS 7 gates, 0 failed, 0 unsure`, or UNSURE, or FAIL. In a step of
    GitHub Actions annotations and the step's summary are written, too.
    """
    asked = [*map(parse_gate, typed), *(read_gates(gates_file) if gates_file is not None else ())]
    read = [read_report(report, allow_unsealed=allow_unsealed)]
    if baseline is not None:
        read.append(read_baseline(baseline, reports, allow_unsealed=allow_unsealed))
    (judged, *others), told = select_variants(read, selection)
    against = others[0] if others else None
    earlier = read_history(history, reports, allow_unsealed=allow_unsealed)
    noise = noise_for([judged, *others], stored_noise())
    found = check(
        judged,
        baseline=against,
        gates=[*(judged.suite.gates if suite_gates else ()), *asked],
        on_unsure=on_unsure,
        allow_mismatch=allow_mismatch,
        allow_degenerate=allow_degenerate,
        noise=bands_of(noise),
        run_variance=run_variance_of(noise),
        history=earlier,
    )
    if on_unsure == "more" and found.seeds_wanted is not None:
        click.echo(f"add seeds: {found.seeds_wanted} a side decide the gates that are unsure", err=True)
    found = found.model_copy(update={"notes": (*told, *found.notes)})
    write(gates_document(found), target)
    return found.exit_code
