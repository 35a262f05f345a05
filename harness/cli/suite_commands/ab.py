"""`harness ab`: run two sides, or the levels of one axis, in turn on this machine, and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from harness.analysis.comparison.comparing import compare
from harness.analysis.over_time.noise import bands_of
from harness.api import Run, render_files
from harness.cli.messages import print_error, print_note, watching
from harness.cli.run_options import how_to_go_on, run_options
from harness.cli.shared_options import (
    PATH,
    SUITE,
    by_option,
    harness_command,
    option,
    output_options,
    set_option,
    suite_argument,
    suite_gates_option,
    verbosity_options,
)
from harness.cli.writing_results import Target, judge, write, write_failure
from harness.errors import ExitCode, InvalidInputError, NotComparableError
from harness.model.results import Report
from harness.model.suite import Suite
from harness.output.builders.comparison_page import comparison_document
from harness.running.interrupts import Interrupt
from harness.running.options import RunOptions
from harness.running.sides.two_sides import Side, run_along, run_sides
from harness.store.noise_file import noise_for, stored_noise
from harness.suite.suite_file import parse_suite
from harness.suite.text import read_bytes, shown


@harness_command("ab")
@suite_argument
@click.argument("candidate_suite", required=False, type=SUITE)
@by_option
@option(
    "--base-python",
    type=PATH,
    metavar="FILE",
    help="The interpreter of the base.",
    group="What to compare",
)
@option(
    "--python",
    type=PATH,
    metavar="FILE",
    help="The interpreter of the candidate.",
    group="What to compare",
)
@option(
    "--base",
    type=PATH,
    metavar="FOLDER",
    help="The checkout whose harness/ is the base; under its .venv/bin/python if it has one.",
    group="What to compare",
)
@option(
    "--candidate",
    type=PATH,
    metavar="FOLDER",
    help="The checkout of the candidate; see --base.",
    group="What to compare",
)
@set_option
@run_options(
    without=(
        "executor",
        "ray_address",
        "slurm",
        "slurm_local",
        "stop_after_same_error",
        "jobs",
        "shard",
        "save_models",
    )
)
@suite_gates_option
@output_options("comparison")
@verbosity_options
def command(
    *,
    suite: Path,
    candidate_suite: Path | None,
    by: str | None,
    base_python: Path | None,
    python: Path | None,
    base: Path | None,
    candidate: Path | None,
    overrides: tuple[str, ...],
    options: RunOptions,
    suite_gates: bool,
    target: Target,
) -> int:
    """Run SUITE as the base and as the candidate, trial by trial in turn, and compare both.

    The sides are two suites (SUITE and CANDIDATE_SUITE), two environments (--base-python, --python), two
    checkouts (--base, --candidate), or the values of one axis of SUITE (--by). A side without its own
    interpreter or checkout uses this program's. Trials run in the order A B, B A, A B, so that a machine that
    slows down slows both sides, and times are paired by seed.

    Each side has its own report under reports/ab-KEY/, which `show`, `compare` and `check` read. The gates of
    SUITE judge the candidate, with the base as the baseline. The same command resumes unfinished trials.

    The exit code is 0 if every trial completed, every gate passed and no proof differs, 1 if not, and 130 or
    143 after an interrupt.

    For example:  harness ab padding --base ../main --candidate .
    """
    sources = _Sources(suite, candidate_suite or suite, overrides)
    try:
        _check_sides(by, candidate_suite, (base_python, python, base, candidate))
        if by is not None:
            runs = _along(sources, by, options)
        else:
            runs = _sides(sources, ((base_python, base), (python, candidate)), options)
        if runs[0].interrupted is not None:
            _note_reports(runs)
            complete = all(run.is_complete for run in runs)
            print_note(f"interrupted: {how_to_go_on(options, complete=complete)}")
            return max(run.exit_code for run in runs)
        return _conclude(runs, by, target, judged=suite_gates)
    except Interrupt as interrupt:
        print_note(f"{interrupt}; {how_to_go_on(options)}")
        return interrupt.exit_code


def _check_sides(by: str | None, candidate_suite: Path | None, code: tuple[Path | None, ...]) -> None:
    """Refuse sides that leave nothing to compare, or too much."""
    several = candidate_suite is not None or any(code)
    if by is not None and several:
        raise InvalidInputError(
            "--by compares the values of an axis within one suite, under one interpreter",
            hint="Leave out --by, or the second suite, interpreters and checkouts.",
        )
    if by is None and not several:
        raise InvalidInputError(
            "both sides are the same: the same suite under the same code",
            hint="Give a second suite, --python, --candidate or --by. To measure noise, give SUITE twice.",
        )


class _Sources:
    """The suite files of both sides, read when they are asked for."""

    def __init__(self, base: Path, candidate: Path, overrides: tuple[str, ...]) -> None:
        self._paths = {"base": base, "candidate": candidate}
        self._overrides = overrides

    def read(self, side: Literal["base", "candidate"]) -> tuple[Suite, bytes]:
        """The suite of a side, and its file."""
        text = read_bytes(self._paths[side])
        return parse_suite(text, shown(self._paths[side]), self._overrides), text


def _along(sources: _Sources, axis: str, options: RunOptions) -> tuple[Run, ...]:
    suite, text = sources.read("base")
    with watching() as observer:
        return (run_along(suite, text, axis, options, observer=observer, render=render_files),)


def _sides(
    sources: _Sources, code: tuple[tuple[Path | None, Path | None], ...], options: RunOptions
) -> tuple[Run, ...]:
    (base_python, base), (python, candidate) = code
    first = Side("base", *sources.read("base"), base_python, base)
    second = Side("candidate", *sources.read("candidate"), python, candidate)
    with watching() as observer:
        return run_sides(first, second, options, observer=observer, render=render_files)


def _conclude(runs: tuple[Run, ...], by: str | None, target: Target, *, judged: bool) -> int:
    """Print the comparison and the gates, and return the exit code."""
    _note_reports(runs)
    code = max(run.exit_code for run in runs)
    reports = [run.report for run in runs]
    try:
        comparison = compare(
            reports,
            by=by,
            names=None if by else ["base", "candidate"],
            noise=bands_of(noise_for(reports, stored_noise())),
        )
    except NotComparableError as error:
        if code == ExitCode.SUCCESS:
            raise
        if target.name == "json":
            write_failure(error, "comparison", "ab", target, exit_code=code)
        print_error(str(error))
        return code
    write(comparison_document(comparison), target)
    passed = _judge(reports, target) if judged else 0
    return passed or code


def _note_reports(runs: tuple[Run, ...]) -> None:
    for run in runs:
        print_note(f"report: {run.directory / 'report.json'}")


def _judge(reports: list[Report], target: Target) -> int:
    """Judge the last side by the gates of the first, which is its baseline where there are two."""
    first, last = reports[0], reports[-1]
    if not first.suite.gates:
        return 0
    return judge(last, first.suite.gates, first if len(reports) > 1 else None, target)
