"""`harness compare`: reports against a baseline, or the variants of one report against each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from harness.analysis.comparison.compare import compare
from harness.analysis.comparison.conditions import CONDITIONS, STORED_VALUE
from harness.analysis.noise import bands_of, run_variance_of
from harness.cli.history import history_option, read_history
from harness.cli.messages import print_note
from harness.cli.options import (
    PATH,
    allow_mismatch_option,
    allow_unsealed_option,
    baseline_option,
    by_option,
    field_option,
    harness_command,
    option,
    output_options,
    verbosity_options,
)
from harness.cli.reports import read_report
from harness.cli.writing import Target, write
from harness.errors import InvalidInputError
from harness.model.metrics import headlines
from harness.output.builders.comparison import comparison_document
from harness.store.baselines import find_baseline
from harness.store.noise_file import noise_for, stored_noise


@harness_command(
    "compare", epilog="For example:  harness compare reports/padding/RUN --by padding --baseline dynamic"
)
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="REPORTS...")
@baseline_option("What to compare", "; with --by, a value of the axis. By default the first")
@by_option
@option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="METRIC",
    help=f"Compare this metric. Repeatable. [default: those of the task and {headlines('training')[-1]}]",
    group="What to compare",
)
@option(
    "--margin",
    "margins",
    multiple=True,
    metavar="[METRIC=]SHARE",
    help="Scores that differ by less count as the same: 0.02, or 2%, of the metric's range, which is two "
    "points of accuracy and 0.04 of MCC; eval_mcc=0.03 sets the margin of one metric. [default: 0.02]",
    group="What to compare",
)
@allow_mismatch_option([*CONDITIONS, STORED_VALUE])
@option(
    "--speed-across-devices/--no-speed-across-devices",
    help="Give verdicts on speed even where devices differ.",
    group="What to compare",
)
@history_option
@allow_unsealed_option
@field_option("reports")
@option("--explain/--no-explain", help="Print what differs, and which examples flipped.", group="Output")
@output_options("comparison")
@verbosity_options
def command(
    *,
    paths: tuple[Path, ...],
    baseline: str | None,
    by: str | None,
    metrics: tuple[str, ...],
    margins: tuple[str, ...],
    allow_mismatch: tuple[str, ...],
    speed_across_devices: bool,
    history: tuple[str, ...],
    allow_unsealed: bool,
    reports: Path,
    explain: bool,
    target: Target,
) -> None:
    """Compare REPORTS with a baseline, or with --by the variants of one report.

    Quality is compared example by example, speed by the ratio of medians. Each row gets one word: better,
    worse, same, unsure, not comparable, missing or failed.
    """
    files, place = (list(paths), baseline or 0) if by else _with_baseline(paths, baseline, reports)
    loaded = [read_report(file, allow_unsealed=allow_unsealed) for file in files]
    earlier = read_history(history, reports, allow_unsealed=allow_unsealed)
    noise = noise_for(loaded, stored_noise())
    comparison = compare(
        loaded,
        baseline=place,
        by=by,
        metrics=metrics or None,
        margin=_margins(margins),
        allow_mismatch=allow_mismatch,
        noise=bands_of(noise),
        run_variance=run_variance_of(noise),
        history=earlier,
        names=[_name(file) for file in files],
        speed_across_devices=speed_across_devices,
        explain=explain,
    )
    write(comparison_document(comparison), target)


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


def _margins(texts: Sequence[str]) -> float | dict[str, float]:
    """One share of every metric's range, or margins by metric."""
    if len(texts) == 1 and "=" not in texts[0]:
        return _share(texts[0])
    found = {}
    for text in texts:
        metric, equals, share = text.partition("=")
        if not equals:
            raise InvalidInputError(
                f"--margin {text}: several margins need a metric each", hint="Write --margin eval_mcc=0.03."
            )
        found[metric] = _share(share)
    return found


def _share(text: str) -> float:
    """A share of one, written as `0.02` or `2%`."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise InvalidInputError(
            f"the margin {text!r} is not a number", hint="Write a share or a percentage: 0.02 or 2%."
        ) from None
