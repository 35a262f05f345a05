"""Folders of a run: made so that they outlive a power loss, and never reached through a symbolic link."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harness.errors import InvalidInputError, StorageError
from harness.store.writing import OS_FILES, Files, storage_error, sync_folder

RUN_ID: Final = re.compile(r"(\d{8}T\d{6}Z)-([0-9a-f]{6})(?:-(\d{1,6}))?")


def make_folder(path: Path, *, files: Files = OS_FILES) -> None:
    """Create the folder, and every missing one above it, so that it outlives a power loss.

    Raises:
        FileExistsError: Something other than a folder is there.
        StorageError: The operating system refused a step.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent, files=files)
    try:
        try:
            files.mkdir(path)
        except FileExistsError:
            if not path.is_dir():
                raise
        sync_folder(path.parent, files)
    except FileExistsError:
        raise
    except OSError as error:
        raise storage_error(error, f"cannot create the folder {path}") from error


def make_new_folder(parent: Path, name: str, files: Files, *, count: int = 1) -> Path:
    """A folder of that name that was not there before, numbered from `count` on where the name is taken.

    Raises:
        StorageError: The operating system refused a step.
    """
    while True:
        path = parent / (name if count == 1 else f"{name}-{count}")
        try:
            files.mkdir(path)
            sync_folder(parent, files)
        except FileExistsError:
            count += 1
        except OSError as error:
            raise storage_error(error, f"cannot create the folder {path}") from error
        else:
            return path


def refuse_inside_run(folder: Path) -> None:
    """Refuse a folder for runs that is a run, or lies inside of one.

    Raises:
        InvalidInputError: It does.
    """
    resolved = folder.resolve()
    for place in (resolved, *resolved.parents):
        if is_there(place / "plan.json") and (place / "trials").is_dir():
            raise InvalidInputError(
                f"{folder}: lies inside the run {place}", hint="Choose a folder outside of any run."
            )


def make_real_folder(path: Path, files: Files) -> None:
    """Create the folder unless it is there; a symbolic link in its place is no folder.

    Raises:
        InvalidInputError: A file or a symbolic link is in its place.
        StorageError: The operating system refused a step.
    """
    if is_real_folder(path):
        return
    try:
        files.mkdir(path)
        sync_folder(path.parent, files)
    except FileExistsError as error:
        raise InvalidInputError(
            f"{path}: a file or a symbolic link is in the place of a trial's folder",
            hint="Remove it; what it points to is never followed.",
        ) from error
    except OSError as error:
        raise storage_error(error, f"cannot create the folder {path}") from error


def is_real_folder(path: Path) -> bool:
    """Whether a folder is there, and not a symbolic link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def names_in(folder: Path) -> set[str]:
    """The names in the folder; none where there is no folder.

    Raises:
        StorageError: The operating system refused to read it.
    """
    try:
        return {entry.name for entry in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise storage_error(error, f"cannot read the folder {folder}") from error


def run_ids(folder: Path) -> Iterator[re.Match[str]]:
    """Return the names of the runs in a suite's folder, matched by `RUN_ID`, newest first.

    Raises:
        StorageError: The operating system refused to read the folder.
    """
    matches = [found for name in names_in(folder) if (found := RUN_ID.fullmatch(name))]
    matches.sort(key=_age, reverse=True)
    return (found for found in matches if is_real_folder(folder / found[0]))


def newest_report(folder: Path) -> Path | None:
    """Return the newest run with a report in a folder of runs, or in the folders of a folder of suites.

    None if there is none, or if the folder is a run itself.

    Raises:
        StorageError: The operating system refused to read a folder.
    """
    if is_there(folder / "report.json") or is_there(folder / "plan.json"):
        return None
    suites = [folder, *(folder / name for name in sorted(names_in(folder)))]
    runs = [(_age(found), suite / found[0]) for suite in suites for found in run_ids(suite)]
    finished = [run for run in runs if is_there(run[1] / "report.json")]
    return max(finished)[1] if finished else None


def run_folders(folder: Path) -> Iterator[Path]:
    """Return the runs at and below a folder, by path: those with a plan or a report.

    Symbolic links and hidden folders are not followed, and a run contains no other. A folder with the name of
    a run that may not be read is among them: reading it gives the reason.

    Raises:
        StorageError: The operating system refused to read another folder.
    """
    try:
        names = names_in(folder)
    except StorageError:
        if RUN_ID.fullmatch(folder.name) is None:
            raise
        yield folder
        return
    if "report.json" in names or "plan.json" in names:
        yield folder
        return
    for name in sorted(names):
        if not name.startswith(".") and is_real_folder(folder / name):
            yield from run_folders(folder / name)


def _age(run: re.Match[str]) -> tuple[str, int]:
    return run[1], int(run[3] or 1)


def is_there(path: Path) -> bool:
    """Whether anything has that path, a broken symbolic link too.

    Raises:
        StorageError: The operating system refused to look.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise storage_error(error, f"cannot look for {path}") from error
    return True


def remove_file(path: Path, files: Files) -> None:
    """Remove the file or the symbolic link itself.

    Raises:
        StorageError: The operating system refused.
    """
    try:
        files.unlink(path)
    except OSError as error:
        raise storage_error(error, f"cannot remove {path}") from error
