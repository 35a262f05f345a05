"""A small run for the store's tests: three trials, their results, and the whole way to a finished report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.model.results import TrialResult
from harness.store.plan_file import make_plan
from harness.store.run_directory import RunDirectory
from harness.store.suite_runs import create_run, find_unfinished
from harness.store.trial_folder import write_result
from harness.store.writing import OS_FILES, Files
from tests.factories import STARTED, make_report, make_result, make_suite, make_trial

RESULTS = tuple(make_result(make_trial(seed=seed), examples=4) for seed in range(3))
PLAN = make_plan(make_suite(), [result.trial for result in RESULTS], "auto")

WriteResult = Callable[[Path, TrialResult, Files], None]


def write_well(folder: Path, result: TrialResult, files: Files) -> None:
    write_result(folder, result, files=files)


def run_to_the_end(
    reports: Path,
    files: Files = OS_FILES,
    acknowledge: Callable[[str], None] = lambda _: None,
    write: WriteResult = write_well,
) -> RunDirectory:
    """Resume or start the run, write what is missing, and its report; say what has been made durable."""
    run = find_unfinished(reports, "padding", PLAN, files=files)
    if run is None:
        run = create_run(reports, "padding", PLAN, b"name: padding\n", now=STARTED, files=files)
        acknowledge("run")
    run.sweep()
    done, _ = run.results()
    for result in RESULTS:
        if result.trial.id not in done:
            write(run.trial_folder(result.trial.id), result, files)
            acknowledge(result.trial.id)
    run.write_report(make_report(RESULTS), "# Report\n")
    acknowledge("report")
    return run


def temporary_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]
