"""`harness run`: run a suite, show its progress, print the table and the path of the report."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.api import Run, run_suite
from harness.cli.messages import say, watching
from harness.cli.options import (
    baseline_option,
    harness_command,
    output_options,
    run_options,
    set_option,
    suite_argument,
    suite_gates_option,
    verbosity_options,
)
from harness.cli.printing import print_report, print_stored
from harness.cli.reports import read_baseline
from harness.cli.writing import write_text
from harness.model.results import Report
from harness.output.formats.registry import FORMATS, render
from harness.output.tables import make_console
from harness.running.interrupts import Interrupt
from harness.running.options import RunOptions
from harness.suite.reading import parse_suite
from harness.suite.text import read_bytes, shown


@harness_command("run", short_help="Fine-tune and evaluate every trial of a suite.")
@suite_argument
@set_option
@run_options()
@suite_gates_option
@baseline_option("Gates")
@output_options(FORMATS, "a report")
@verbosity_options
def command(
    *,
    suite: Path,
    overrides: tuple[str, ...],
    options: RunOptions,
    suite_gates: bool,
    baseline: str | None,
    name: str,
    output: Path | None,
) -> int:
    """Fine-tune and evaluate every trial of SUITE, and write a report.

    An unfinished run of the same suite is resumed: what is finished is not run again. The exit code is 0 if
    every trial completed and every gate passed, 1 if not, and 130 or 143 after an interrupt.

    For example:  harness run suites/padding.yaml -s 'matrix.seed=[0]'
    """
    try:
        against = None if baseline is None else read_baseline(baseline, options.reports)
        run = _run(suite, overrides, options)
    except Interrupt as interrupt:
        say(f"{interrupt}; run the same command again to go on")
        return 128 + interrupt.number
    _show(run, name, output)
    judged = 0
    if suite_gates and run.interrupted is None:
        judged = _judge(run, against, aside=name != "table" and output is None)
    return _exit_code(run) or judged


def _run(path: Path, overrides: tuple[str, ...], options: RunOptions) -> Run:
    text = read_bytes(path)
    suite = parse_suite(text, shown(path), overrides)
    with watching() as observer:
        return run_suite(suite, options, suite_text=text, observer=observer)


def _show(run: Run, name: str, output: Path | None) -> None:
    if output is not None:
        write_text(render(run.report, name), output)
    elif name == "json":
        print_stored(run.directory / "report.json", run.brief)
    else:
        print_report(run.brief if name == "table" else run.report, name)
    say(f"report: {run.directory / 'report.json'}")
    if run.interrupted is not None:
        say("interrupted: run the same command again to go on where it stopped")


def _judge(run: Run, baseline: Report | None, *, aside: bool) -> int:
    """Judge a run by its suite's gates and return the exit code; 0 where there is none to judge."""
    if not run.brief.suite.gates and baseline is None:
        return 0
    return judge(run.report, baseline, aside=aside)


def judge(report: Report, baseline: Report | None, *, aside: bool) -> int:
    """Judge a report by its suite's gates, print the cases and return their exit code.

    With `aside` only the verdict is printed, on standard error: standard output carries another result.
    """
    # Most runs have no gates, and these import numpy and scipy.
    from harness.analysis.gates.of_run import judge_run  # noqa: PLC0415
    from harness.output.gates import gate_table, verdict_line  # noqa: PLC0415
    from harness.running.calibrations import (  # noqa: PLC0415
        bands_for,
        run_variance_for,
        stored_noise,
    )

    reports = [report] if baseline is None else [report, baseline]
    found, skipped = judge_run(
        report, baseline, bands_for(reports, stored_noise()), run_variance_for(reports, stored_noise())
    )
    for sentence in skipped:
        say(sentence)
    if found is None:
        return 0
    if not aside:
        make_console(sys.stdout).print("", gate_table(found), sep="\n")
    click.echo(verdict_line(found), err=aside)
    return found.exit_code


def _exit_code(run: Run) -> int:
    if run.interrupted is not None:
        return 128 + run.interrupted
    return 0 if all(result.status == "completed" for result in run.brief.results) else 1
