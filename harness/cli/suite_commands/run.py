"""`harness run`: run a suite, show its progress, print the table and the path of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.api import Run, run_suite
from harness.cli.messages import print_note, watching
from harness.cli.reports import read_baseline
from harness.cli.run_options import how_to_go_on, run_options, until_options
from harness.cli.shared_options import (
    baseline_option,
    harness_command,
    output_options,
    set_option,
    suite_argument,
    suite_gates_option,
    verbosity_options,
)
from harness.cli.writing_results import Target, judge, write, write_stored
from harness.errors import StorageError
from harness.model.results import Report
from harness.running.interrupts import Interrupt
from harness.running.options import RunOptions, UntilDecided
from harness.suite.suite_file import parse_suite
from harness.suite.text import read_bytes, shown

# A run keeps its results without raw values in memory, which is all that these formats show.
_SHOW_NO_RAW_VALUES: Final = frozenset({"table", "markdown", "html", "junit", "github"})


@harness_command("run")
@suite_argument
@set_option
@run_options()
@until_options
@suite_gates_option
@baseline_option("Gates")
@output_options("report")
@verbosity_options
def command(
    *,
    suite: Path,
    overrides: tuple[str, ...],
    options: RunOptions,
    until: UntilDecided | None,
    suite_gates: bool,
    baseline: str | None,
    target: Target,
) -> int:
    """Fine-tune and evaluate every trial of SUITE, and write a report.

    SUITE is a file, or a name: of a file NAME.yaml in the current folder, else of a shipped suite.

    An unfinished run of the same suite is resumed: finished trials do not run again. The exit code is 0 if
    every trial completed, every gate passed and no proof differs, 1 if not, and 130 or 143 after an
    interrupt. A row that --until-decided leaves open fails nothing: the report lists what would decide it.

    For example:  harness run padding -s 'matrix.seed=[0]'
    """
    try:
        against = None if baseline is None else read_baseline(baseline, options.reports)
        run = _run(suite, overrides, options, until)
    except Interrupt as interrupt:
        print_note(f"{interrupt}; {how_to_go_on(options)}")
        return interrupt.exit_code
    _show(run, target)
    if run.interrupted is not None:
        print_note(f"interrupted: {how_to_go_on(options, complete=run.is_complete)}")
    if options.shard is not None and run.interrupted is None:
        if against is not None or (suite_gates and run.brief.suite.gates):
            print_note("gates are not judged by a shard: merge the shards, then use `harness check`")
        return run.exit_code
    judged = 0 if run.interrupted is not None else _judge(run, against, target, suite_gates=suite_gates)
    return run.exit_code or judged


def _run(path: Path, overrides: tuple[str, ...], options: RunOptions, until: UntilDecided | None) -> Run:
    text = read_bytes(path)
    suite = parse_suite(text, shown(path), overrides)
    with watching() as observer:
        return run_suite(suite, options, suite_text=text, observer=observer, until=until)


def _show(run: Run, target: Target) -> None:
    # The first trial need not wait for this.
    from harness.output.builders.report import report_document  # noqa: PLC0415

    try:
        if target == Target("json"):
            write_stored(run.directory / "report.json", report_document(run.brief))
        else:
            brief = target.name in _SHOW_NO_RAW_VALUES
            write(report_document(run.brief if brief else run.report), target)
    except StorageError as error:
        # The same command would run a finished run again.
        again = f"The run is kept. Free some space and write it again: harness show {run.directory} -o FILE"
        raise StorageError(error.message, hint=again) from error
    finally:
        print_note(f"report: {run.directory / 'report.json'}")


def _judge(run: Run, baseline: Report | None, target: Target, *, suite_gates: bool) -> int:
    """Judge the run by its suite's gates and the baseline, and return the exit code; 0 if it has neither."""
    gates = run.brief.suite.gates if suite_gates else ()
    if not gates and baseline is None:
        return 0
    return judge(run.report, gates, baseline, target)
