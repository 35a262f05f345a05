"""`harness compare`: reports against a baseline, or the variants of one report against each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from harness.analysis.comparison.compare import compare
from harness.analysis.comparison.conditions import CONDITIONS, STORED_VALUE
from harness.analysis.noise import bands_of, run_variance_of
from harness.cli.history import history_option, read_history
from harness.cli.messages import say
from harness.cli.writing import allow_unsealed_option, failing_as_json, output_options, target_of, write
from harness.errors import InvalidInputError
from harness.model.metrics import headlines
from harness.output.builders.comparison import comparison_document
from harness.store.baselines import REPORTS, find_baseline
from harness.store.noise_file import noise_for, stored_noise
from harness.store.reading import load_report


@click.command(epilog="For example:  harness compare reports/padding/RUN --by padding --baseline dynamic")
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--baseline",
    help="What to compare with: one of the REPORTS, another report, a kept baseline's name; with --by one of "
    "the axis's values. [default: the first]",
)
@click.option("--by", help="Compare along this axis inside one report: padding, device, train.learning_rate.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help=f"Compare this metric; may be given several times. [default: {', '.join(headlines('training'))}]",
)
@click.option(
    "--margin",
    "margins",
    multiple=True,
    metavar="[METRIC=]SHARE",
    help="Scores that differ by less count as the same: 0.02, or 2%, of the metric's range, which is two "
    "points of accuracy and 0.04 of MCC; eval_mcc=0.03 sets the margin of one metric. [default: 0.02]",
)
@click.option(
    "--allow-mismatch",
    multiple=True,
    metavar="NAME",
    help=f"Compare in spite of this mismatch: {', '.join([*CONDITIONS, STORED_VALUE])}.",
)
@click.option(
    "--speed-across-devices", is_flag=True, help="Give verdicts on speed where devices differ, too."
)
@history_option
@allow_unsealed_option
@click.option("--explain", is_flag=True, help="Tell what differs, and which examples flipped.")
@output_options("comparison", "-o")
def command(
    *,
    reports: tuple[Path, ...],
    baseline: str | None,
    by: str | None,
    metrics: tuple[str, ...],
    margins: tuple[str, ...],
    allow_mismatch: tuple[str, ...],
    speed_across_devices: bool,
    history: tuple[str, ...],
    allow_unsealed: bool,
    explain: bool,
    wanted: str | None,
    output: Path | None,
) -> None:
    """Compare REPORTS with a baseline, or with --by the variants of one report.

    Quality is compared example by example, speed by the ratio of medians. Each row gets one word: better,
    worse, same, unsure, not comparable, missing or failed.
    """
    target = target_of("comparison", wanted, output)
    with failing_as_json("comparison", "compare", target):
        paths, place = (list(reports), baseline or 0) if by else _with_baseline(reports, baseline)
        loaded = [load_report(path, allow_unsealed=allow_unsealed) for path in paths]
        earlier = read_history(history, REPORTS, allow_unsealed=allow_unsealed)
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
            names=[_name(path) for path in paths],
            speed_across_devices=speed_across_devices,
            explain=explain,
        )
    write(comparison_document(comparison), target)


def _with_baseline(reports: Sequence[Path], baseline: str | None) -> tuple[list[Path], int]:
    """The paths of all reports, and the place of the baseline among them."""
    if baseline is None:
        return list(reports), 0
    for place, path in enumerate(reports):
        if baseline in (str(path), _name(path)) or Path(baseline) == path:
            return list(reports), place
    return [find_baseline(baseline, REPORTS, note=say), *reports], 0


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
            f"the margin {text!r} is no number", hint="Write a share or a percentage: 0.02 or 2%."
        ) from None
