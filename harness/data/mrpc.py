"""Read GLUE's and Microsoft's tab-separated files of MRPC, and recognize the published splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.data.corpus import Corpus, unordered_sha256
from harness.data.tables import MISSING, Table, UnreadableError, decoded
from harness.model.tasks import GLUE, Task, glue_task

# `unordered_sha256` of GLUE's and Microsoft's files: a copy with reordered rows counts as published.
PUBLISHED: Final = {
    "train": "7a7a11f1be6d9d2d856a8e6e745829d1ea8f50c951d35ff9ac386e089f8105a9",
    "validation": "3c7b3cc72d2dfe125848fa07d116746ab0f833457c5eb39a39c1f2ef5e64148d",
    "test": "456b5c86864a5a6fda9be6a9f0e1d4898a8f67023d970291f378f949390fc776",
}

# The column names in the files, and in the published data set.
_COLUMNS: Final = {"Quality": "label", "#1 String": "sentence1", "#2 String": "sentence2"}


def read_glue(path: Path) -> Table:
    """Read a file of GLUE or Microsoft: five columns, no quoting, an optional byte order mark.

    Raises:
        UnreadableError: a row differs from the official format; the message names its line.
    """
    lines, rows = tab_separated(path, columns=5)
    return _table(path, lines[1:], rows[0], rows[1:])


def read_microsoft(path: Path, dev_ids: Path, split: str) -> Table:
    """Read a split from Microsoft's training file: `dev_ids` lists the sentence ids of the validation pairs.

    Raises:
        UnreadableError: as in `read_glue`.
    """
    held_out = {tuple(row) for row in tab_separated(dev_ids, columns=2)[1]}
    lines, rows = tab_separated(path, columns=5)
    chosen = [
        (line, row)
        for line, row in zip(lines[1:], rows[1:], strict=True)
        if ((row[1], row[2]) in held_out) == (split == "validation")
    ]
    return _table(path, [line for line, _ in chosen], rows[0], [row for _, row in chosen])


def mrpc_problems(files: Mapping[str, str], found: Mapping[str, int]) -> list[str]:
    """Return a sentence for each split of MRPC whose number of examples is not the published one."""
    published = GLUE["mrpc"].examples
    return [
        f"{files[split]}: MRPC's {split} split has {published[split]:,} examples, here are {examples:,}; "
        "get the file again"
        for split, examples in found.items()
        if examples != published.get(split, examples)
    ]


def is_published(task: Task, corpus: Corpus) -> bool | None:
    """Return whether all splits have exactly the rows of the published MRPC, in any order.

    Of another task of GLUE only the published sizes are known: other sizes are other rows. Return None if
    that is unknown: another data set, other columns, or a split without a published digest.
    """
    evaluations = dict(zip(task.eval_splits, corpus.evaluations(), strict=True))
    splits = {task.train_split: corpus.train, **evaluations}
    if (known := glue_task(task)) is not None and task.config != "mrpc":
        other = any(known.examples.get(name, len(split)) != len(split) for name, split in splits.items())
        return False if other else None
    if task.name != "glue/mrpc" or task.text != Task().text or task.label != Task().label:
        return None
    if not splits.keys() <= PUBLISHED.keys():
        return None
    return all(unordered_sha256(split) == PUBLISHED[name] for name, split in splits.items())


def _table(path: Path, lines: Sequence[int], header: Sequence[str], rows: Sequence[list[str]]) -> Table:
    places = {_COLUMNS[name]: at for at, name in enumerate(header) if name in _COLUMNS}
    if not {"sentence1", "sentence2"} <= places.keys():
        raise UnreadableError(
            f"{path.name}:1: expected a header with the columns {', '.join(_COLUMNS)}; the files must be "
            "GLUE's or Microsoft's, unchanged"
        )
    columns: dict[str, list[object]] = {
        name: [row[at] or MISSING for row in rows] for name, at in places.items()
    }
    return Table(path.name, tuple(columns), columns, lines, untyped=True)


def tab_separated(path: Path, *, columns: int | None) -> tuple[list[int], list[list[str]]]:
    """Return the line numbers and the cells of all rows, including the header.

    Raises:
        UnreadableError: a row has another number of cells than `columns`.
    """
    lines: list[int] = []
    rows: list[list[str]] = []
    # Only "\n" ends a row: a sentence may contain Unicode's other line separators. Quotes are plain text.
    for number, line in enumerate(decoded(path).split("\n"), start=1):
        if not line.strip("\r"):
            continue
        row = line.removesuffix("\r").split("\t")
        if columns is not None and len(row) != columns:
            raise UnreadableError(
                f"{path.name}:{number}: expected {columns} tab-separated columns, found {len(row)}; the "
                "files must be GLUE's or Microsoft's, unchanged"
            )
        lines.append(number)
        rows.append(row)
    return lines, rows
