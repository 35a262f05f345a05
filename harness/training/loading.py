"""The data set of a trial, read and checked as before the run."""

from __future__ import annotations

from harness.data.corpus import Corpus, Split
from harness.data.data_problems import InvalidDataError
from harness.data.splits import read_corpus
from harness.model.assets import ResolvedData
from harness.model.job import TrialStoppedError
from harness.model.tasks import Task

__all__ = ["Corpus", "Split", "load_corpus"]


def load_corpus(task: Task, data: ResolvedData) -> Corpus:
    """Read both splits of a task.

    Raises:
        TrialStoppedError: `failed`, for a file, column, text, label or count that the task cannot use.
    """
    try:
        return read_corpus(task, data)
    except InvalidDataError as error:
        raise TrialStoppedError(
            "failed",
            f"data set {data.name} ({data.source}): {'; '.join(error.problems)}",
            hint=error.hint,
        ) from error
