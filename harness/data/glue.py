"""Read the tab-separated files of GLUE's tasks, and compare split sizes with the published ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harness.data.corpus import Corpus
from harness.data.mrpc import read_glue, tab_separated
from harness.data.tables import MISSING, Table, UnreadableError
from harness.model.tasks import Task, glue_task

_SENTENCES: Final = {"sentence1": "sentence1", "sentence2": "sentence2"}
# For each task its columns in the files, with their names in the published data set.
_COLUMNS: Final[dict[str, dict[str, str]]] = {
    "cola": {"sentence": "sentence", "label": "label"},
    "sst2": {"sentence": "sentence", "label": "label"},
    "qqp": {"question1": "question1", "question2": "question2", "is_duplicate": "label"},
    "stsb": {**_SENTENCES, "score": "label"},
    "mnli": {"sentence1": "premise", "sentence2": "hypothesis", "gold_label": "label"},
    "qnli": {"question": "question", "sentence": "sentence", "label": "label"},
    "rte": {**_SENTENCES, "label": "label"},
    "wnli": {**_SENTENCES, "label": "label"},
}
# CoLA's labelled files have no header: source, label, the author's mark, sentence.
_COLA: Final = ["source", "label", "mark", "sentence"]


def read_glue_file(path: Path, config: str | None) -> Table:
    """Read a file of a task of GLUE as it was published: quotes are text, and columns are found by name.

    A row of QQP with fewer cells than the header is left out, as from the published data set, and an empty
    question is an empty text there.

    Raises:
        UnreadableError: a row or the header differs from the official format; the message names its line.
    """
    if config not in _COLUMNS:
        return read_glue(path)
    lines, rows = tab_separated(path, columns=None)
    if config == "cola" and rows[0] != ["index", "sentence"]:
        lines, rows = [0, *lines], [_COLA, *rows]
    header = rows[0]
    names = {_COLUMNS[config][name]: at for at, name in enumerate(header) if name in _COLUMNS[config]}
    texts = [name for name in _COLUMNS[config].values() if name != "label"]
    if not set(texts) <= names.keys():
        raise UnreadableError(
            f"{path.name}:{lines[0]}: expected a header with the columns {', '.join(_COLUMNS[config])}; "
            "the files must be GLUE's, unchanged"
        )
    whole, left_out = [], []
    for line, row in zip(lines[1:], rows[1:], strict=True):
        if len(row) == len(header):
            whole.append((line, row))
        elif config == "qqp" and len(row) < len(header):
            left_out.append(line)
        else:
            raise UnreadableError(
                f"{path.name}:{line}: expected {len(header)} tab-separated columns, found {len(row)}; the "
                "files must be GLUE's, unchanged"
            )
    columns: dict[str, list[object]] = {
        name: [row[at] if row[at] or (config == "qqp" and name != "label") else MISSING for _, row in whole]
        for name, at in names.items()
    }
    return Table(
        path.name,
        tuple(columns),
        columns,
        [line for line, _ in whole],
        untyped=True,
        left_out=tuple(left_out),
    )


def size_remarks(task: Task, corpus: Corpus) -> Iterator[str]:
    """Yield a sentence for each split of a task of GLUE whose size is not the published one."""
    known = glue_task(task)
    if known is None:
        return
    evaluations = zip(task.eval_splits, corpus.evaluations(), strict=True)
    for split, examples in ((task.train_split, corpus.train), *evaluations):
        published = known.examples.get(split, len(examples))
        if len(examples) != published:
            yield f"the {split} split has {len(examples):,} examples, the published one {published:,}"
