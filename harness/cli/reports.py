"""The reports and baselines that a command line names."""

from __future__ import annotations

from pathlib import Path

from harness.cli.messages import print_detail, print_note
from harness.model.results import Report
from harness.store.baselines import find_baseline
from harness.store.folders import newest_report
from harness.store.reading import load_report
from harness.words import count


def read_report(path: Path, *, allow_unsealed: bool = False) -> Report:
    """Return the report in a file or a run directory, and note it with `--verbose`."""
    report = load_report(path, allow_unsealed=allow_unsealed)
    print_detail(f"read {path}: run {report.run}, {count(len(report.results), 'trial')}")
    return report


def read_newest(path: Path) -> Report:
    """Return the report in a file or a run directory, or the newest one in a folder of runs, which is noted.

    A report without a digest is accepted: its notes tell.
    """
    newest = newest_report(path) if path.is_dir() else None
    if newest is not None:
        print_note(f"{path} is a folder of runs; this is the newest: {newest}")
    return read_report(newest or path, allow_unsealed=True)


def read_baseline(text: str, reports: Path, *, allow_unsealed: bool = False) -> Report:
    """Return the report that `--baseline` names: a file, a run directory or a kept baseline."""
    return read_report(find_baseline(text, reports, note=print_note), allow_unsealed=allow_unsealed)
