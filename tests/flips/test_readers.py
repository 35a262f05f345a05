"""Damage to one stored file, then its reader: the content that was written, or a refusal."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from harness.errors import InvalidInputError
from harness.store.finishing import is_finished
from harness.store.noise_file import read_noise, write_noise
from harness.store.reading import load_report
from harness.store.run_directory import RunDirectory, open_run
from harness.store.suite_runs import create_run
from harness.store.trial_folder import read_result, write_result
from harness.training.measuring.peaks import kept_peak
from tests.factories import STARTED, make_report
from tests.flips.damage import Outcome, damage_each
from tests.flips.test_reports import calibration
from tests.store.storing import PLAN, RESULTS

Flips = Callable[[float], range]
Count = Callable[[str, Outcome], None]
Reader = tuple[Path, Callable[[], object]]


class MeasuredAgainError(InvalidInputError):
    """A peak was not taken from its file."""


def plan_of(run: RunDirectory) -> Reader:
    def read() -> object:
        plan = open_run(run.path).plan
        # Where data are read is no part of what a plan's digest covers.
        return plan.digest, plan.trial_ids, plan.measure, plan.assets

    return run.path / "plan.json", read


def result_of(run: RunDirectory) -> Reader:
    folder = run.trial_folder(RESULTS[0].trial.id)
    write_result(folder, RESULTS[0])
    return folder / "result.json", lambda: read_result(folder)


def report_of(run: RunDirectory) -> Reader:
    return run.path / "report.json", lambda: load_report(run.path)


def ending_of(run: RunDirectory) -> Reader:
    return run.path / "ended.json", lambda: is_finished(run.path, PLAN)


def noise_of(run: RunDirectory) -> Reader:
    file = write_noise(run.path / "noise", calibration())
    return file, lambda: read_noise(file)


def peak_of(run: RunDirectory) -> Reader:
    folder = run.path / "peaks"

    def measured_again() -> float:
        raise MeasuredAgainError("the file does not count")

    def read(measure: Callable[[], float] = measured_again) -> float:
        # Within the minutes for which a peak counts.
        return kept_peak(
            folder, "0123456789abcdef", "matmul", measure, now=lambda: STARTED + timedelta(minutes=1)
        )

    read(lambda: 123456789.87654321)
    (file,) = folder.iterdir()
    return file, read


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A finished run."""
    run = create_run(tmp_path, "padding", PLAN, b"", now=STARTED)
    run.write_report(make_report(RESULTS), "")
    return run


@pytest.mark.parametrize("stored", [plan_of, result_of, report_of, ending_of, noise_of, peak_of])
def test_a_damaged_file_is_read_as_it_was_or_refused(
    stored: Callable[[RunDirectory], Reader], run: RunDirectory, flips: Flips, tally: Count
) -> None:
    file, read = stored(run)
    intact, wanted = file.read_bytes(), read()

    def restore() -> list[Path]:
        file.write_bytes(intact)
        return [file]

    def look(_file: Path, _draw: random.Random) -> Outcome:
        try:
            found = read()
        except InvalidInputError:
            return "refused"
        assert found == wanted
        return "no effect"

    damage_each(f"reader, {stored.__name__}", flips(1.0), restore, look, tally)
