"""`harness compare`: reports against a baseline, or the variants of one report against each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from harness.analysis.comparison.comparing import compare
from harness.analysis.comparison.conditions import CONDITIONS, STORED_VALUE
from harness.analysis.over_time.noise import bands_of, run_variance_of
from harness.cli.messages import print_note
from harness.cli.reports import evaluation_texts, read_history, read_report, select_variants
from harness.cli.run_options import field_option
from harness.cli.shared_options import (
    PATH,
    allow_mismatch_option,
    allow_unsealed_option,
    baseline_option,
    by_option,
    harness_command,
    history_option,
    margin_option,
    margins_of_texts,
    metrics_option,
    option,
    output_options,
    selection_option,
    verbosity_options,
)
from harness.cli.writing_results import Target, write
from harness.output.builders.comparison_page import comparison_document
from harness.store.baselines import find_baseline
from harness.store.noise_file import noise_for, stored_noise


@harness_command(
    "compare", epilog="For example:  harness compare reports/padding/RUN --by padding --baseline dynamic"
)
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="REPORTS...")
@baseline_option("What to compare", "; with --by, a value of the axis. By default the first")
@by_option
@selection_option("What to compare")
@metrics_option
@margin_option
@allow_mismatch_option([*CONDITIONS, STORED_VALUE])
@option(
    "--speed-across-devices/--no-speed-across-devices",
    help="Give verdicts on speed even where devices differ.",
    group="What to compare",
)
@history_option
@allow_unsealed_option
@field_option("reports")
@option(
    "--explain/--no-explain",
    help="Print what differs, and which examples flipped. A page always has both.",
    group="Output",
)
@option(
    "--texts/--no-texts",
    help="Show the texts of flipped examples, where the same data set is found on this machine.",
    group="Output",
)
@output_options("comparison")
@verbosity_options
def command(
    *,
    paths: tuple[Path, ...],
    baseline: str | None,
    by: str | None,
    selection: str | None,
    metrics: tuple[str, ...],
    margins: tuple[str, ...],
    allow_mismatch: tuple[str, ...],
    speed_across_devices: bool,
    history: tuple[str, ...],
    allow_unsealed: bool,
    reports: Path,
    explain: bool,
    texts: bool,
    target: Target,
) -> None:
    """Compare REPORTS with a baseline, or with --by the variants of one report.

    Quality is compared example by example, speed by the ratio of medians. Each row gets one word: better,
    worse, same, unsure, not comparable, missing or failed.
    """
    files, place = (list(paths), baseline or 0) if by else _with_baseline(paths, baseline, reports)
    whole = [read_report(file, allow_unsealed=allow_unsealed) for file in files]
    loaded, told = select_variants(whole, selection)
    earlier = read_history(history, reports, allow_unsealed=allow_unsealed)
    noise = noise_for(loaded, stored_noise())
    names = [_name(file) for file in files]
    comparison = compare(
        loaded,
        baseline=place,
        by=by,
        metrics=metrics or None,
        margin=margins_of_texts(margins),
        allow_mismatch=allow_mismatch,
        noise=bands_of(noise),
        run_variance=run_variance_of(noise),
        history=earlier,
        names=names,
        speed_across_devices=speed_across_devices,
        explain=explain or texts or target.name == "html",
        timeline=whole[0].results,
    )
    comparison = comparison.model_copy(update={"notes": (*told, *comparison.notes)})
    found = evaluation_texts(loaded) if texts else {}
    write(comparison_document(comparison, list(zip(names, loaded, strict=True)), found), target)


def _with_baseline(paths: Sequence[Path], baseline: str | None, reports: Path) -> tuple[list[Path], int]:
    """Return the paths of all reports, and the place of the baseline among them."""
    if baseline is None:
        return list(paths), 0
    for place, path in enumerate(paths):
        if baseline in (str(path), _name(path)) or Path(baseline) == path:
            return list(paths), place
    return [find_baseline(baseline, reports, note=print_note), *paths], 0


def _name(path: Path) -> str:
    """What to call a report: its file's name, or its folder's where every file has the same."""
    named = path.absolute()
    return named.parent.name if named.name == "report.json" else named.stem if path.suffix else named.name
