"""Recognise a data set's folder by its files: GLUE's layout, Microsoft's of MRPC, or files by split.

A split is one file, or numbered parts such as `train-00000-of-00003.parquet`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from harness.errors import InvalidInputError, UnavailableError
from harness.model.tasks import Task, glue_task, is_mrpc

GLUE_FILES: Final = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
MNLI_FILES: Final = {
    "train": "train.tsv",
    **{
        f"{split}_{kind}": f"{file}_{kind}.tsv"
        for split, file in (("validation", "dev"), ("test", "test"))
        for kind in ("matched", "mismatched")
    },
}
MICROSOFT_FILES: Final = {
    "train": "msr_paraphrase_train.txt",
    "test": "msr_paraphrase_test.txt",
    "dev_ids": "dev_ids.tsv",
}
ENDINGS: Final = ("parquet", "jsonl", "csv", "tsv")

FolderLayout = Literal["glue", "microsoft", "files"]
Files = dict[str, tuple[str, ...]]


def data_folder_files(folder: Path, named_by: str, task: Task) -> tuple[FolderLayout, Files]:
    """Return the layout of `folder` and its files by split.

    For a task of GLUE, try GLUE's own files first; for MRPC also Microsoft's, whose `dev_ids` lists the
    training pairs that form the validation split. Any other folder has `<split>.<parquet|jsonl|csv|tsv>`; the
    reader reports a missing split together with all other problems.

    Args:
        folder: the folder to inspect.
        named_by: the option or variable that named the folder, for messages.
        task: the data set and its splits.

    Raises:
        InvalidInputError: `folder` is a file, or lacks a part of a split.
        UnavailableError: the folder does not exist, or has none of the layouts.
    """
    if folder.is_file():
        raise InvalidInputError(
            f"{task.name}: {named_by} names a file, not a folder: {folder}",
            hint=f"Name its folder: {folder.parent}",
        )
    if not folder.is_dir():
        raise UnavailableError(f"{task.name}: the folder of {named_by} does not exist: {folder}")
    folder = folder.resolve()
    glue = _glue_files(task)
    if any(_has(folder, "train.tsv", glue[split]) for split in glue if split.startswith("validation")):
        return "glue", _present(folder, glue)
    if is_mrpc(task) and _has(folder, *MICROSOFT_FILES.values()):
        return "microsoft", _present(folder, MICROSOFT_FILES)
    splits = _by_split(folder)
    if problems := splits.problems((task.train_split, *task.eval_splits)):
        raise InvalidInputError(
            f"{task.name}: {folder}: {'; '.join(problems)}", hint="Copy the whole data set again."
        )
    has_all = {task.train_split, *task.eval_splits} <= splits.complete.keys()
    # GLUE's and Microsoft's files differ from other TSV files: an incomplete set must not be read as those.
    if has_all or (splits.complete and not glue):
        return "files", splits.complete
    wanted = " and ".join((task.train_split, *task.eval_splits))
    raise UnavailableError(
        f"{task.name}: {folder}, named by {named_by}, has no known layout; found {_listing(folder)}",
        hint=f"{_official(task, glue)}Other data sets: {wanted}, each as .{', .'.join(ENDINGS)}.",
    )


def _glue_files(task: Task) -> dict[str, str]:
    """Return GLUE's own file of each split; none if the task is not one of GLUE."""
    if glue_task(task) is None:
        return {}
    return MNLI_FILES if task.config == "mnli" else GLUE_FILES


def _official(task: Task, glue: dict[str, str]) -> str:
    """Return the published files of a task of GLUE as a sentence; of MRPC where it is another task."""
    if glue and not is_mrpc(task):
        return f"{task.name}: {', '.join(glue.values())}. "
    return f"MRPC: {', '.join(GLUE_FILES.values())}, or {', '.join(MICROSOFT_FILES.values())}. "


def _by_split(folder: Path) -> SplitFiles:
    """Return the files of each split. A split with files of several formats is incomplete: which is meant?"""
    complete: Files = {}
    incomplete: dict[str, str] = {}
    endings: dict[str, list[str]] = {}
    for ending in ENDINGS:
        found = split_files(str(file) for file in folder.glob(f"*.{ending}") if file.is_file())
        complete |= found.complete
        incomplete |= found.incomplete
        for split in found.complete.keys() | found.incomplete.keys():
            endings.setdefault(split, []).append(f".{ending}")
    for split, several in endings.items():
        if len(several) > 1:
            complete.pop(split, None)
            incomplete[split] = f"it has files that end in {' and '.join(several)}; keep one copy"
    return SplitFiles(dict(sorted(complete.items())), incomplete)


def _has(folder: Path, *names: str) -> bool:
    return all((folder / name).is_file() for name in names)


def _present(folder: Path, files: dict[str, str]) -> Files:
    return {split: (str(folder / name),) for split, name in files.items() if (folder / name).is_file()}


def _listing(folder: Path) -> str:
    names = sorted(file.name for file in folder.iterdir())
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing"


# Older versions of `push_to_hub` append 16 digits of a hash to the name of a part.
_NAME: Final = re.compile(
    r"(?:.*/)?(?P<split>[^/]+?)(?:-(?P<part>\d{5})-of-(?P<parts>\d{5})(?:-[0-9a-f]{16})?)?\.[a-z]+"
)


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """`complete` maps a split to its files in order, `incomplete` to the reason why it cannot be read."""

    complete: dict[str, tuple[str, ...]]
    incomplete: dict[str, str]

    def problems(self, splits: Iterable[str]) -> list[str]:
        """Return a sentence for each of these splits that is incomplete."""
        return [f"split {split!r}: {self.incomplete[split]}" for split in splits if split in self.incomplete]


def split_files(names: Iterable[str]) -> SplitFiles:
    """Group the file names of one folder by split; all must have the same extension."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for name in sorted(names):
        if (match := _NAME.fullmatch(name)) is not None:
            part, parts = (int(match[key] or default) for key, default in (("part", 0), ("parts", 1)))
            found.setdefault(match["split"], {})[name] = (part, parts)
    complete: dict[str, tuple[str, ...]] = {}
    incomplete: dict[str, str] = {}
    for split, files in sorted(found.items()):
        if (reason := _incomplete(files)) is None:
            complete[split] = tuple(sorted(files, key=files.__getitem__))
        else:
            incomplete[split] = reason
    return SplitFiles(complete, incomplete)


def _incomplete(files: dict[str, tuple[int, int]]) -> str | None:
    """Return why these files are not exactly the parts of one split, or None if they are."""
    total = max(parts for _, parts in files.values())
    numbers = {part for part, parts in files.values() if parts == total and part < total}
    if len(numbers) < len(files):
        return f"{', '.join(Path(name).name for name in files)} are not the parts of one copy; keep one copy"
    missing = [f"{part:05}-of-{total:05}" for part in range(total) if part not in numbers]
    if missing:
        return f"{', '.join(missing[:4])} missing, only {len(files)} of {total} parts are there"
    return None
