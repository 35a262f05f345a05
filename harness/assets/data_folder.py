"""Recognising a data set's folder by its files: GLUE's and Microsoft's layouts of MRPC, or a file a split."""

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
    """The layout of `folder` and its files by split.

    For MRPC, GLUE's layout is looked for first, then Microsoft's; Microsoft's `dev_ids` names the training
    pairs that are the validation split. Any other folder has `<split>.<parquet|jsonl|csv|tsv>`; the reader
    reports a split that is not there, with everything else that is wrong.

    Raises:
        InvalidInputError: a file in place of a folder, or a folder that lacks a part of a split.
        UnavailableError: no such folder, or none of the layouts; `named_by` says who named it.
    """
    if folder.is_file():
        raise InvalidInputError(
            f"{task.name}: {named_by} names a file, not a folder: {folder}",
            hint=f"Name its folder: {folder.parent}",
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
    # A part of GLUE's or Microsoft's files must not be read by the rules of other TSV files.
    if has_both or (splits.complete and not mrpc):
        return "files", splits.complete
    raise UnavailableError(
        f"{task.name}: {folder}, named by {named_by}, has no layout known here; found {_listing(folder)}",
        hint=f"MRPC: {', '.join(GLUE_FILES.values())}, or {', '.join(MICROSOFT_FILES.values())}. "
        f"Anything: {task.train_split} and {task.eval_split}, each as .{', .'.join(ENDINGS)}.",
    )


def _by_split(folder: Path) -> SplitFiles:
    """The files of each split; of a split in several formats those of the first in `ENDINGS`."""
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
