"""`harness run`: run a suite, show it as it goes, print the table, say where the report lies."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal

import click

from harness.api import Run, run_suite
from harness.cli.messages import say
from harness.cli.suite_options import (
    assets_option,
    fail_fast_option,
    fresh_option,
    gates_option,
    grace_option,
    overrides_option,
    parity_option,
    reports_option,
    rerun_option,
    retries_option,
    runner_option,
    strict_option,
    suite_argument,
    trial_timeout_option,
    wait_option,
)
from harness.cli.writing import Target, failing_as_json, output_options, target_of, write, write_stored
from harness.model.results import Report
from harness.output.builders.report import report_document
from harness.output.live import view
from harness.running.interrupts import Interrupt
from harness.running.options import ExecutorName, RunOptions
from harness.store.baselines import find_baseline
from harness.store.reading import load_report
from harness.suite.reading import parse_suite
from harness.suite.text import read_bytes, shown

# A run keeps its results without raw values in memory, which is all that these formats show.
_SHOW_NO_RAW_VALUES: Final = frozenset({"table", "markdown", "html", "junit", "github"})


@click.command("run", short_help="Fine-tune and evaluate every trial of a suite.")
@suite_argument
@overrides_option
@assets_option
@reports_option
@strict_option
@fresh_option
@rerun_option
@trial_timeout_option
@retries_option
@fail_fast_option
@click.option(
    "--stop-after-same-error",
    "same_error",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="After N identical failures for one axis value, skip its remaining trials (0: never).",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="Run N trials concurrently per device. Timings are marked unusable if N > 1.",
)
@parity_option
@gates_option
@click.option("--baseline", help="What the gates measure drops against: a report, or a kept baseline's name.")
@wait_option
@click.option("--json/--no-json", "as_json", help="The same as --format json.")
@output_options("report")
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where trials run: in processes of this machine, or on a Ray cluster (extra `ray`).",
)
@click.option(
    "--ray-address",
    metavar="HOST:PORT",
    help="The head of the cluster; by default RAY_ADDRESS, or the cluster that this machine is a node of.",
)
@runner_option
@grace_option
def command(
    *,
    suite: Path,
    overrides: tuple[str, ...],
    assets: Literal["auto", "hub", "embedded"],
    reports: Path,
    strict: bool,
    fresh: bool,
    rerun: Literal["failed", "all"] | None,
    trial_timeout: float | None,
    retries: int,
    fail_fast: bool,
    same_error: int,
    jobs: int,
    parity: bool,
    gates: bool,
    baseline: str | None,
    wait: bool,
    as_json: bool,
    wanted: str | None,
    output: Path | None,
    executor: ExecutorName,
    ray_address: str | None,
    runner: str,
    grace_s: float,
) -> int:
    """Fine-tune and evaluate every trial of SUITE, and write a report.

    An unfinished run of the same suite is resumed: what is finished is not run again. The exit code is 0 if
    every trial completed and every gate passed, 1 if not, and 130 or 143 after an interrupt.

    For example:  harness run suites/padding.yaml -o 'matrix.seed=[0]'
    """
    target = target_of("report", wanted, output, as_json=as_json)
    options = RunOptions(
        assets=assets,
        reports=reports,
        strict=strict,
        fresh=fresh,
        rerun=rerun,
        wait=wait,
        parity=parity,
        trial_timeout_s=trial_timeout,
        retries=retries,
        fail_fast=fail_fast,
        same_error=same_error,
        jobs=jobs,
        executor=executor,
        ray_address=ray_address,
        runner=runner,
        grace_s=grace_s,
    )
    try:
        with failing_as_json("report", "run", target):
            against = None if baseline is None else load_report(find_baseline(baseline, reports, note=say))
            run = _run(suite, overrides, options)
    except Interrupt as interrupt:
        say(f"{interrupt}; run the same command again to go on")
        return interrupt.exit_code
    _show(run, target)
    judged = _judge(run, against, target) if gates and run.interrupted is None else 0
    return run.exit_code or judged


def _run(path: Path, overrides: tuple[str, ...], options: RunOptions) -> Run:
    text = read_bytes(path)
    suite = parse_suite(text, shown(path), overrides)
    with ExitStack() as screen:
        watching = screen.enter_context(view(sys.stderr, sys.stderr.isatty()))
        return run_suite(suite, options, suite_text=text, observer=watching)


def _show(run: Run, target: Target) -> None:
    if target == Target("json"):
        write_stored(run.directory / "report.json", report_document(run.brief))
    else:
        brief = target.name in _SHOW_NO_RAW_VALUES
        write(report_document(run.brief if brief else run.report), target)
    say(f"report: {run.directory / 'report.json'}")
    if run.interrupted is not None:
        say("interrupted: run the same command again to go on where it stopped")


def _judge(run: Run, baseline: Report | None, target: Target) -> int:
    """Judge the run by its suite's gates and return their exit code; 0 where there is none to judge."""
    if not run.brief.suite.gates and baseline is None:
        return 0
    return judge(run.report, baseline, target)


def judge(report: Report, baseline: Report | None, target: Target) -> int:
    """Judge a report by its suite's gates and return their exit code; `target` got the result before.

    The cases follow a table; where standard output is not for a person, standard error gets the verdict.
    """
    # Most runs have no gates, and these import numpy and scipy.
    from harness.analysis.gates.of_run import judge_run  # noqa: PLC0415
    from harness.analysis.noise import bands_of, run_variance_of  # noqa: PLC0415
    from harness.output.builders.gates import gates_document  # noqa: PLC0415
    from harness.store.noise_file import noise_for, stored_noise  # noqa: PLC0415

    noise = noise_for([report] if baseline is None else [report, baseline], stored_noise())
    found, skipped = judge_run(report, baseline, bands_of(noise), run_variance_of(noise))
    for sentence in skipped:
        say(sentence)
    if found is None:
        return 0
    document = gates_document(found)
    if target == Target("table"):
        click.echo()
        write(document, target)
    else:
        click.echo("\n".join(document.verdict), err=True)
    return found.exit_code
