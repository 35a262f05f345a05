"""Recognize a data set folder by its files: GLUE's or Microsoft's layout of MRPC, or a file per split."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from harness.assets.split_files import SplitFiles, split_files
from harness.errors import InvalidInputError, UnavailableError
from harness.model.trial import Task

GLUE_FILES: Final = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
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

    For MRPC, try GLUE's layout first, then Microsoft's, whose `dev_ids` lists the training pairs that form
    the validation split. Any other folder has `<split>.<parquet|jsonl|csv|tsv>`; the reader reports a missing
    split together with all other problems.

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
            hint="Name the folder that contains it.",
        )
    if not folder.is_dir():
        raise UnavailableError(f"{task.name}: the folder of {named_by} does not exist: {folder}")
    folder = folder.resolve()
    mrpc = task.dataset in {"nyu-mll/glue", "glue"} and task.config == "mrpc"
    if mrpc:
        if _has(folder, "train.tsv", "dev.tsv"):
            return "glue", _present(folder, GLUE_FILES)
        if _has(folder, *MICROSOFT_FILES.values()):
            return "microsoft", _present(folder, MICROSOFT_FILES)
    splits = _by_split(folder)
    if problems := splits.problems((task.train_split, task.eval_split)):
        raise InvalidInputError(
            f"{task.name}: {folder}: {'; '.join(problems)}", hint="Copy the whole data set again."
        )
    has_both = {task.train_split, task.eval_split} <= splits.complete.keys()
    # GLUE's and Microsoft's files differ from other TSV files: an incomplete set must not be read as those.
    if has_both or (splits.complete and not mrpc):
        return "files", splits.complete
    raise UnavailableError(
        f"{task.name}: {folder}, named by {named_by}, has no known layout; found {_listing(folder)}",
        hint=f"MRPC: {', '.join(GLUE_FILES.values())}, or {', '.join(MICROSOFT_FILES.values())}. "
        f"Other data sets: {task.train_split} and {task.eval_split}, each as .{', .'.join(ENDINGS)}.",
    )


def _by_split(folder: Path) -> SplitFiles:
    """Return the files of each split; if a split has several formats, the first in `ENDINGS` wins."""
    complete: Files = {}
    incomplete: dict[str, str] = {}
    for ending in ENDINGS:
        found = split_files(str(file) for file in folder.glob(f"*.{ending}") if file.is_file())
        known = complete.keys() | incomplete.keys()
        complete |= {split: files for split, files in found.complete.items() if split not in known}
        incomplete |= {split: reason for split, reason in found.incomplete.items() if split not in known}
    return SplitFiles(dict(sorted(complete.items())), incomplete)


def _has(folder: Path, *names: str) -> bool:
    return all((folder / name).is_file() for name in names)


def _present(folder: Path, files: dict[str, str]) -> Files:
    return {split: (str(folder / name),) for split, name in files.items() if (folder / name).is_file()}


def _listing(folder: Path) -> str:
    names = sorted(file.name for file in folder.iterdir())
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing"
