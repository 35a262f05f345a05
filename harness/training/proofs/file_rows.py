"""The rows of a data set's files, read apart from `harness.data`, of which this uses no line.

By Python's csv and json, and by pyarrow's batches. Nothing is refused here: the files of a trial have passed
the checks of `harness.data`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
from datasets import ClassLabel, Features

from harness.model.assets import ResolvedData
from harness.model.tasks import Task

Cells = tuple[object, ...]
"""A row's texts, then its label as the file has it."""

_INTEGER: Final = re.compile(r"-?[0-9]+")
_LONGEST_CELL: Final = 2**31 - 1
_SENTENCES: Final = {"sentence1": "sentence1", "sentence2": "sentence2", "label": "label"}
_OF_MRPC: Final = {"sentence1": "#1 String", "sentence2": "#2 String", "label": "Quality"}
# GLUE's own files: for each task its columns, with their names in the headers.
_GLUE: Final[dict[str, dict[str, str]]] = {
    "cola": {"sentence": "sentence", "label": "label"},
    "sst2": {"sentence": "sentence", "label": "label"},
    "mrpc": _OF_MRPC,
    "qqp": {"question1": "question1", "question2": "question2", "label": "is_duplicate"},
    "stsb": {**_SENTENCES, "label": "score"},
    "mnli": {"premise": "sentence1", "hypothesis": "sentence2", "label": "gold_label"},
    "qnli": {"question": "question", "sentence": "sentence", "label": "label"},
    "rte": _SENTENCES,
    "wnli": _SENTENCES,
}
# CoLA's labelled files have no header.
_COLA: Final = ["source", "label", "mark", "sentence"]


def rows_of(task: Task, data: ResolvedData, split: str) -> Iterator[Cells]:
    """Yield the rows of a split in the order of its files, those beyond `task.limit` too."""
    columns = (*task.text, task.label)
    if data.layout == "microsoft":
        yield from _microsoft(data, split, columns)
        return
    for part in data.files[split]:
        path = Path(part)
        if data.layout == "glue":
            yield from _glue(path, task.config or "", columns)
        else:
            yield from _plain(path, [_named(data, at, name) for at, name in enumerate(columns)])


def declared_names(task: Task, data: ResolvedData) -> tuple[str, ...]:
    """Return the names of the classes that the Parquet files of the training split declare, or none."""
    path = Path(data.files[task.train_split][0])
    if path.suffix != ".parquet":
        return ()
    feature = Features.from_arrow_schema(pq.read_schema(path)).get(task.label)
    return tuple(feature.names or ()) if isinstance(feature, ClassLabel) else ()


def name_problems(task: Task, data: ResolvedData) -> Iterator[str]:
    """Yield a sentence for each split whose files are not named after it, or are not all of its parts."""
    if data.layout == "microsoft":
        return
    for split in dict.fromkeys((task.train_split, *task.eval_splits)):
        names = [Path(part).name for part in data.files[split]]
        if data.layout == "glue":
            due = [f"{split.replace('validation', 'dev')}.tsv"]
        elif len(names) == 1 and Path(names[0]).stem == split:
            continue
        else:
            due = [
                f"{split}-{part:05}-of-{len(names):05}{found.removeprefix(split)[15:]}"
                for part, found in enumerate(names)
            ]
        if names != due:
            yield f"split {split!r} is read from {', '.join(names)}, due {', '.join(due)}"


def _named(data: ResolvedData, at: int, name: str) -> str:
    """Return the name in the files of the column `name`, the task's number `at`."""
    # The embedded corpus of pairs stands in for tasks whose columns have other names.
    known = data.name != "embedded/pairs" or name in _SENTENCES
    return name if known else f"sentence{at + 1}"


def _plain(path: Path, columns: Sequence[str]) -> Iterator[Cells]:
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=list(columns)):
                yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
    elif path.suffix == ".jsonl":
        with path.open(encoding="utf-8-sig", newline="\n") as lines:
            for line in lines:
                if line.strip():
                    row = json.loads(line)
                    yield tuple(row[name] for name in columns)
    else:
        yield from _delimited(path, columns)


def _delimited(path: Path, columns: Sequence[str]) -> Iterator[Cells]:
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            header = next(rows)
            places = [header.index(name) for name in columns]
            for row in rows:
                # A blank line is none.
                if row:
                    yield _typed([row[at] for at in places])
    finally:
        csv.field_size_limit(before)


def _glue(path: Path, config: str, columns: Sequence[str]) -> Iterator[Cells]:
    lines = _lines(path)
    bare = config == "cola" and next(_lines(path)) != ["index", "sentence"]
    header = _COLA if bare else next(lines)
    places = [header.index(_GLUE[config][name]) for name in columns]
    for row in lines:
        # The published data set of QQP lacks its broken rows.
        if config != "qqp" or len(row) == len(header):
            yield _typed([row[at] for at in places])


def _microsoft(data: ResolvedData, split: str, columns: Sequence[str]) -> Iterator[Cells]:
    ids = {" ".join(row) for row in _lines(Path(data.files["dev_ids"][0]))}
    lines = _lines(Path(data.files["test" if split == "test" else "train"][0]))
    header = next(lines)
    places = [header.index(_OF_MRPC[name]) for name in columns]
    for row in lines:
        if split == "test" or (f"{row[1]} {row[2]}" in ids) is (split == "validation"):
            yield _typed([row[at] for at in places])


def _lines(path: Path) -> Iterator[list[str]]:
    """Yield the cells of each line that is not blank; quotes are text."""
    with path.open(encoding="utf-8-sig", newline="\n") as lines:
        for line in lines:
            if cells := line.rstrip("\r\n"):
                yield cells.split("\t")


def _typed(cells: Sequence[str]) -> Cells:
    """Return the cells of a file of text, a label that is an integer as one."""
    *texts, label = cells
    return (*texts, int(label) if _INTEGER.fullmatch(label) else label)
