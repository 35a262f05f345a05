"""The reports and baselines that a command line names."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.analysis.selecting import selected
from harness.assets.find_data import local_data
from harness.cli.messages import print_detail, print_note
from harness.data.splits import read_corpus
from harness.data.tables import NotCheckedError
from harness.errors import HarnessError, InvalidInputError, NotComparableError, StorageError
from harness.model.results import Report
from harness.store.baselines import find_baseline, kept_baselines
from harness.store.folders import is_there, newest_report, run_folders
from harness.store.reading import load_report
from harness.words import count


def read_report(path: Path, *, allow_unsealed: bool = False) -> Report:
    """Return the report in a file or a run directory, and note it with `--verbose`."""
    report = load_report(path, allow_unsealed=allow_unsealed)
    # It is needed until the end: no collection of garbage has to visit its objects.
    gc.freeze()
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


def read_history(paths: Sequence[str], reports: Path, *, allow_unsealed: bool) -> list[Report]:
    """Return the reports that `--history` names: evidence of variance for a comparison.

    Args:
        paths: as given.
        reports: where baselines are kept.
        allow_unsealed: accept reports without a digest.

    Raises:
        InvalidInputError: A path does not exist, a folder has no run, or a report is damaged.
        StorageError: A file cannot be read.
    """
    files = [file for path in paths for file in _history_files(path, reports)]
    return [read_report(file, allow_unsealed=allow_unsealed) for file in dict.fromkeys(files)]


def _history_files(text: str, reports: Path) -> Iterator[Path]:
    try:
        path = find_baseline(text, reports, note=print_note)
    except NotComparableError:
        raise InvalidInputError(
            f"--history {text}: neither a path, nor the name of a baseline in {reports / 'baselines'}",
            hint="Give a report, a run directory, or a folder of runs such as reports/padding.",
        ) from None
    if not path.is_dir():
        yield path
        return
    if not (found := finished_runs(path)):
        raise InvalidInputError(
            f"--history {text}: no folder in it has a report.json",
            hint="Give a report, a run directory, or a folder of runs such as reports/padding.",
        )
    yield from found


def finished_runs(folder: Path) -> list[Path]:
    """Return the folders with a report at and below a folder; a note names the runs without one."""
    folders = list(run_folders(folder))
    found = [each for each in folders if _has_report(each)]
    if unfinished := [each.name for each in folders if each not in found]:
        print_note(f"{folder}: without a report.json, and left out: {', '.join(unfinished)}")
    return found


def _has_report(run: Path) -> bool:
    try:
        return is_there(run / "report.json")
    except StorageError:
        # Reading it gives the reason.
        return True


def read_reports(paths: Sequence[Path]) -> tuple[list[Report], list[str]]:
    """Return every report that the paths name, and a sentence for each unreadable one below a folder.

    Args:
        paths: reports, run directories or folders, in which every run and every kept baseline counts.

    Raises:
        InvalidInputError: A path has no report, or a report that was named itself is damaged.
        StorageError: A folder, or a report that was named itself, cannot be read.
    """
    reports, problems = [], []
    for path in paths:
        if not path.is_dir() or is_there(path / "report.json"):
            reports.append(read_report(path, allow_unsealed=True))
            continue
        files = [*finished_runs(path), *kept_baselines(path).values()]
        if not files:
            raise InvalidInputError(
                f"{path}: neither it nor a folder in it has a report.json",
                hint="Give reports, run directories or folders of runs such as reports.",
            )
        for file in files:
            try:
                reports.append(read_report(file, allow_unsealed=True))
            except (InvalidInputError, StorageError) as error:
                problems.append(f"left out: {error.message}")
    return reports, problems


def select_variants(reports: Sequence[Report], expression: str | None) -> tuple[list[Report], list[str]]:
    """Return the reports with the variants that `-k` selects, and the note that tells how many these are.

    Raises:
        InvalidInputError: The expression cannot be read, or selects nothing.
    """
    if expression is None:
        return list(reports), []
    kept, sentence = selected(expression, reports)
    return list(kept), [sentence]


def evaluation_texts(reports: Sequence[Report]) -> dict[int, tuple[str, ...]]:
    """Return the texts of the evaluation examples by example id, from the data set on this machine.

    Empty, with a note that gives the reason, where the data set is not here or is not that of every report.
    """
    results = [result for report in reports for result in report.results if result.data is not None]
    used = {
        result.data.content_sha256: result.data.synthetic for result in results if result.data is not None
    }
    if len(used) != 1:
        print_note("no texts: the trials used different data sets, or none")
        return {}
    (content, synthetic), reasons = used.popitem(), []
    # The same data can lie in another folder for each report.
    for task in dict.fromkeys(result.trial.task for result in results):
        try:
            found = local_data(task, "embedded" if synthetic else "auto")
            corpus = None if found is None else read_corpus(task, found)
        except (HarnessError, NotCheckedError) as error:
            reasons.append(str(error))
            continue
        if corpus is not None and corpus.content_sha256 == content:
            return dict(enumerate(corpus.evaluation.texts))
        reasons.append(f"{task.name} of these reports was not found on this machine")
    print_note(f"no texts: {'; '.join(dict.fromkeys(reasons))}")
    return {}
