"""Check a data set before any trial starts, with the reader that trials use."""

from __future__ import annotations

from harness.assets.find_data import local_data, source_of
from harness.assets.places import Note
from harness.data.corpus import Corpus, count_duplicates
from harness.data.data_notes import data_remarks
from harness.data.glue import size_remarks
from harness.data.mrpc import is_published
from harness.data.splits import read_corpus
from harness.data.tables import NotCheckedError
from harness.errors import UnavailableError
from harness.model.assets import AssetsMode, ResolvedData
from harness.model.tasks import Task
from harness.words import count


def check_data(task: Task, data: ResolvedData, *, note: Note) -> None:
    """Read a data set and pass the remarks on it to `note`.

    Raises:
        InvalidDataError: the data set is invalid; the error lists all problems.
    """
    if _is_known(task, data):
        return
    try:
        corpus = read_corpus(task, data)
    except NotCheckedError as error:
        note(f"{task.name}: not checked before the run: {error}")
        return
    for remark in remarks_of(task, corpus):
        note(f"{task.name}: {remark}")


def plan_data(task: Task, mode: AssetsMode) -> str:
    """Describe the source of a plan's data, and its contents if it is on this machine.

    Raises:
        InvalidInputError: the local folder or copy is invalid; the error lists all problems.
    """
    try:
        found = local_data(task, mode)
    except UnavailableError as error:
        return f"unavailable: {error.message}"
    source = source_of(task, found, mode)
    if found is None or _is_known(task, found):
        return source
    try:
        corpus = read_corpus(task, found)
    except NotCheckedError as error:
        return f"{source}, not checked: {error}"
    classes = f"{len(corpus.label_names):,} classes" if task.kind == "classification" else "a number each"
    counts = f"{len(corpus.train):,} training and {len(corpus.evaluation):,} evaluation examples, {classes}"
    return "; ".join([f"{source}, {counts}", *remarks_of(task, corpus)])


def _is_known(task: Task, data: ResolvedData) -> bool:
    """Return whether this is the embedded corpus with its standard columns and splits, checked by tests."""
    known = Task()
    return data.source == "embedded" and (
        task.text,
        task.label,
        task.train_split,
        task.eval_split,
        task.limit,
    ) == (known.text, known.label, known.train_split, known.eval_split, None)


def remarks_of(task: Task, corpus: Corpus) -> list[str]:
    """Return the remarks on a corpus."""
    duplicates = count_duplicates(corpus)
    published = is_published(task, corpus)
    remarks = [*size_remarks(task, corpus)]
    if corpus.left_out:
        rows = count(corpus.left_out, "row")
        remarks.append(f"{rows} with missing cells left out of the files, as in the published data set")
    return [*remarks, *data_remarks(published, duplicates, len(corpus.train), len(corpus.evaluation))]
