"""Folders of a run: made so that they outlive a power loss, and never reached through a symbolic link."""

from __future__ import annotations

import stat
from pathlib import Path

from harness.errors import InvalidInputError
from harness.store.writing import OS_FILES, Files, storage_error, sync_folder


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
            f"{path}: a file or a symbolic link stands where a trial's folder belongs",
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
