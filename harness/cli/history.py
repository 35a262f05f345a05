"""The option `--history`: reports of earlier runs, which give variances that the compared ones lack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.cli.messages import print_note
from harness.cli.options import option
from harness.cli.reports import read_report
from harness.errors import InvalidInputError, NotComparableError
from harness.model.results import Report
from harness.store.baselines import find_baseline
from harness.store.folders import names_in

history_option = option(
    "--history",
    "history",
    multiple=True,
    metavar="PATH",
    help="Earlier runs: a report, a run directory, a folder of runs such as reports/padding, or a kept "
    "baseline's name. They give the variance of quality over the seeds of a recipe, and of speed between "
    "runs of a variant on this machine. Repeatable.",
    group="What to compare",
)


def read_history(paths: Sequence[str], reports: Path, *, allow_unsealed: bool) -> list[Report]:
    """The reports that the option names.

    Args:
        paths: as given.
        reports: where baselines are kept.
        allow_unsealed: accept reports without a digest.

    Raises:
        InvalidInputError: A path does not exist, a folder has no run, or a report is damaged.
        StorageError: A file cannot be read.
    """
    files = [file for path in paths for file in _files(path, reports)]
    return [read_report(file, allow_unsealed=allow_unsealed) for file in dict.fromkeys(files)]


def _files(text: str, reports: Path) -> Iterator[Path]:
    try:
        path = find_baseline(text, reports, note=print_note)
    except NotComparableError:
        raise InvalidInputError(
            f"--history {text}: neither a path, nor the name of a baseline in {reports / 'baselines'}",
            hint="Give a report, a run directory, or a folder of runs such as reports/padding.",
        ) from None
    if not path.is_dir() or (path / "report.json").exists():
        yield path
        return
    folders = sorted(path / name for name in names_in(path) if (path / name).is_dir())
    found = [folder for folder in folders if (folder / "report.json").exists()]
    if not found:
        raise InvalidInputError(
            f"--history {text}: no folder in it has a report.json",
            hint="Give a report, a run directory, or a folder of runs such as reports/padding.",
        )
    if unfinished := [folder.name for folder in folders if folder not in found]:
        print_note(f"history {text}: without a report.json, and left out: {', '.join(unfinished)}")
    yield from found
