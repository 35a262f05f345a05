"""`harness history`: the values of each variant over the reports of a folder, with the changes marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from harness.analysis.over_time.noise import run_bands_of
from harness.analysis.over_time.series import series_of
from harness.cli.reports import read_reports, select_variants
from harness.cli.shared_options import (
    PATH,
    harness_command,
    metrics_option,
    option,
    output_options,
    selection_option,
    share,
    verbosity_options,
)
from harness.cli.writing_results import Target, write
from harness.model.results import Report
from harness.output.builders.series_tables import history_document
from harness.store.folders import is_there
from harness.store.noise_file import noise_file, read_noise, stored_noise


@harness_command("history", epilog="For example:  harness history reports/ -o series.csv")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATHS...")
@selection_option("What to compare")
@metrics_option
@option(
    "--band",
    metavar="SHARE",
    help="The noise band of times, rates and sizes: 0.03 or 3%. By default that of a calibration between "
    "runs, else that of the series itself.",
    group="What to compare",
)
@output_options("history")
@verbosity_options
def command(
    *,
    paths: tuple[Path, ...],
    selection: str | None,
    metrics: tuple[str, ...],
    band: str | None,
    target: Target,
) -> None:
    """Show the values of every variant over the reports under PATHS, and mark the changes beyond the noise.

    A line is one variant on one machine with the same data and files, in order of the commit's date. A change
    is marked where two points in a row lie outside the noise band around the median since the last mark.

    The CSV has the layout of Apache Otava's importer: `time` is its time column, `--branch` selects a line.
    """
    found, problems = read_reports(paths)
    reports, told = select_variants(found, selection)
    width = None if band is None else share(band, "--band")
    series = series_of(reports, metrics or None, band=width, calibrated=_calibrated(reports))
    write(history_document(series, [*told, *problems]), target)


def _calibrated(reports: Sequence[Report]) -> Mapping[str, Mapping[str, float]]:
    """Return the bands between runs of each calibrated machine of the reports, by fingerprint and metric."""
    environments = (result.environment for report in reports for result in report.results)
    machines = {environment.fingerprint for environment in environments if environment is not None}
    files = [noise_file(stored_noise(), machine) for machine in sorted(machines)]
    return {file.stem: run_bands_of(read_noise(file)) for file in files if is_there(file)}
