"""Find a data set's files: a folder, the Hub's cache, the Hub, the embedded corpus."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from harness.assets.data_folder import SplitFiles, data_folder_files, split_files
from harness.assets.embedded import (
    EMBEDDED_CORPORA,
    EMBEDDED_DATASET,
    corpus_files,
    require_embedded,
    stand_in_corpus,
)
from harness.assets.hub import Hub, HubUnreachableError, default_hub
from harness.assets.hub_cache import Snapshot, cached_snapshot, check_repo
from harness.assets.places import Note, writable_hub_cache
from harness.errors import InvalidInputError, UnavailableError
from harness.model.assets import AssetsMode, ResolvedData
from harness.model.tasks import Task, is_mrpc

MRPC_VARIABLE: Final = "HARNESS_MRPC_DIR"


def find_data(task: Task, mode: AssetsMode, *, note: Note, hub: Hub | None = None) -> ResolvedData:
    """Return the files of the task's data set; download them if necessary.

    The order is `task.data_dir`, which every mode reads; for MRPC the folder in `$HARNESS_MRPC_DIR`; the
    Hub's cache; the Hub; and for MRPC, if the Hub is unreachable and `mode` is `auto`, the embedded corpus.
    With `embedded` a task of GLUE without a folder gets the embedded corpus of its shape.
    `note` and `hub` are those of `find_checkpoint`.

    Raises:
        InvalidInputError: the data set's name is malformed.
        UnavailableError: unavailable in this mode; the message names the missing files and the reason.
    """
    if (local := local_data(task, mode)) is not None:
        if local.name != local.requested and _embedded_name(task) is None:
            _note_stand_in(task, "--assets embedded", note)
        return local
    note(f"{task.name}: asking the Hub")
    try:
        found = (hub or default_hub()).fetch(
            "dataset",
            task.dataset,
            task.revision,
            lambda names: _choose(task, names),
            writable_hub_cache(note),
        )
    except HubUnreachableError as error:
        cached = "; ".join([error.message, *_cache_problems(task)])
        if mode == "auto" and is_mrpc(task):
            _note_stand_in(task, cached, note)
            return _embedded(task, mode, EMBEDDED_DATASET)
        raise UnavailableError(
            cached,
            hint="Run once where the Hub can be reached, set HF_HOME to a cache that contains it, or give a "
            + (
                f"folder by task.data_dir or {MRPC_VARIABLE}."
                if is_mrpc(task)
                else "folder by task.data_dir."
            ),
        ) from error
    return _from_hub(task, found, _splits(task, _relative_files(found.path)).complete, downloaded=True)


def local_data(task: Task, mode: AssetsMode) -> ResolvedData | None:
    """Find the data set on this machine without network access or changes on disk; None if it is not here.

    Raises:
        InvalidInputError: an invalid name, a file instead of a folder, or a split that lacks a part.
        UnavailableError: the folder does not exist, or the data set has no embedded corpus.
    """
    if (embedded := _embedded_name(task)) is not None:
        return _embedded(task, mode, embedded)
    if mode == "embedded" and task.data_dir is None:
        return _stand_in(task, "--assets embedded")
    if (folder := _folder(task)) is not None:
        layout, files = data_folder_files(folder[0], folder[1], task)
        return ResolvedData(requested=task.name, name=task.name, source="folder", layout=layout, files=files)
    _check_name(task)
    if (cached := cached_snapshot("dataset", task.dataset, task.revision)) is not None:
        files = _splits(task, _relative_files(cached.path)).complete
        if _has_needed(task, files):
            return _from_hub(task, cached, files)
    return None


def source_of(task: Task, found: ResolvedData | None, mode: AssetsMode) -> str:
    """Describe in a few words the source of the data that `local_data` returned."""
    if found is None:
        offline = ", or the embedded corpus, synthetic" if mode == "auto" and is_mrpc(task) else ""
        return f"download from the Hub{offline}"
    if found.source == "embedded":
        return "embedded corpus, synthetic"
    if found.revision is not None:
        return f"Hub cache, commit {found.revision[:12]}"
    return f"folder given by {_named_by(task)}, layout {found.layout}"


def _embedded_name(task: Task) -> str | None:
    """Return the embedded corpus that a task names, or None."""
    return next((name for name in EMBEDDED_CORPORA if name in {task.dataset, task.name}), None)


def _folder(task: Task) -> tuple[Path, str] | None:
    """Return the folder to read and the option or variable that names it, or None."""
    named = task.data_dir
    if named is None and is_mrpc(task):
        named = os.environ.get(MRPC_VARIABLE) or None
    if named is None:
        return None
    try:
        return Path(named).expanduser(), _named_by(task)
    except RuntimeError as error:
        raise InvalidInputError(
            f"{task.name}: {_named_by(task)}: the home folder of {named} is unknown",
            hint="Write the full path of the folder.",
        ) from error


def _named_by(task: Task) -> str:
    return "task.data_dir" if task.data_dir is not None else MRPC_VARIABLE


def _check_name(task: Task) -> None:
    check_repo(task.dataset, task.revision)
    if "/" not in task.dataset:
        raise InvalidInputError(
            f"{task.dataset!r} is not the name of a data set on the Hub: write owner/name",
            hint="GLUE is nyu-mll/glue with a config such as mrpc; to read a folder, give task.data_dir.",
        )


def _embedded(task: Task, mode: AssetsMode, name: str) -> ResolvedData:
    if mode == "hub":
        raise UnavailableError(f"{name}: --assets hub accepts no embedded corpus", hint="Use --assets auto.")
    require_embedded(name)
    return ResolvedData(
        requested=task.name,
        name=name,
        source="embedded",
        layout="parquet",
        files=corpus_files(name),
        synthetic=True,
    )


def _stand_in(task: Task, reason: str) -> ResolvedData:
    name = stand_in_corpus(task)
    if name is None:
        raise UnavailableError(
            f"{task.name}: no embedded stand-in ({reason})",
            hint="The tasks of GLUE have one; for other data give a folder by task.data_dir.",
        )
    return _embedded(task, "embedded", name)


def _note_stand_in(task: Task, reason: str, note: Note) -> None:
    name = (task.config or task.name).upper()
    note(f"{task.name}: using the embedded synthetic corpus ({reason}); its scores are not those of {name}")


def _from_hub(
    task: Task, found: Snapshot, files: dict[str, tuple[str, ...]], *, downloaded: bool = False
) -> ResolvedData:
    return ResolvedData(
        requested=task.name,
        name=task.name,
        source="hub" if downloaded else "hub cache",
        layout="parquet",
        files={split: tuple(str(found.path / part) for part in parts) for split, parts in files.items()},
        revision=found.commit,
    )


def _choose(task: Task, names: Sequence[str]) -> list[str]:
    splits = _splits(task, names)
    if problems := splits.problems((task.train_split, *task.eval_splits)):
        raise UnavailableError(
            f"{task.name}: the Hub's copy is damaged: {'; '.join(problems)}",
            hint="Choose another task.revision, or download it and give task.data_dir.",
        )
    if not _has_needed(task, splits.complete):
        raise UnavailableError(
            f"{task.name}: the Hub has no Parquet files for each of the splits "
            f"{' and '.join((task.train_split, *task.eval_splits))}; "
            f"found {', '.join(sorted(names)[:8]) or 'no files'}",
            hint="Check task.config and the splits' names, or download it and give task.data_dir.",
        )
    return [part for parts in splits.complete.values() for part in parts]


def _splits(task: Task, names: Sequence[str]) -> SplitFiles:
    """Return the Parquet files of each split from the first folder of a repository that has any."""
    parents = (task.config,) if task.config is not None else ("data", ".")
    parquet = [PurePosixPath(name) for name in names if name.endswith(".parquet")]
    inside = ([str(file) for file in parquet if str(file.parent) == parent] for parent in parents)
    return split_files(next(filter(None, inside), ()))


def _cache_problems(task: Task) -> list[str]:
    """Describe the parts that the copy in the Hub's cache lacks, or that there is no copy."""
    found = cached_snapshot("dataset", task.dataset, task.revision)
    splits = SplitFiles({}, {}) if found is None else _splits(task, _relative_files(found.path))
    return splits.problems((task.train_split, *task.eval_splits)) or ["not in its cache"]


def _has_needed(task: Task, files: dict[str, tuple[str, ...]]) -> bool:
    return {task.train_split, *task.eval_splits} <= files.keys()


def _relative_files(root: Path) -> list[str]:
    return [file.relative_to(root).as_posix() for file in root.rglob("*.parquet") if file.is_file()]
