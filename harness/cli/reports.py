"""The reports and baselines that a command line names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.assets.find_data import local_data
from harness.cli.messages import print_detail, print_note
from harness.data.reading import read_corpus
from harness.data.tables import NotCheckedError
from harness.errors import HarnessError
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
