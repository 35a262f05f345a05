"""The runs of a suite in `reports/<suite>`: created by name and time, and found by plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.assets.places import Note
from harness.errors import InvalidInputError, StorageError
from harness.store.finishing import is_finished
from harness.store.folders import is_there, make_folder, make_new_folder, refuse_inside_run, run_ids
from harness.store.locking import LOCK, hold_lock
from harness.store.plan_file import Plan
from harness.store.reading import NewerSchemaError
from harness.store.run_directory import RunDirectory, open_run, write_run
from harness.store.writing import OS_FILES, Files

_SUITE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def create_run(
    reports: Path, suite_name: str, plan: Plan, suite_text: bytes, *, now: datetime, files: Files = OS_FILES
) -> RunDirectory:
    """A new run's directory, named by the time in UTC and the plan; `plan.json` comes last and makes it one.

    Names order runs, so where a clock was set back the time of the newest run is taken again and numbered.

    Raises:
        InvalidInputError: `reports` is a file, lies inside a run, or the name cannot be a folder's.
        StorageError: It cannot be created or written.
    """
    folder = suite_folder(reports, suite_name, files=files)
    stamp, count = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}", 1
    newest = next(run_ids(folder), None)
    if newest is not None and newest[1] >= stamp:
        stamp, count = newest[1], int(newest[3] or 1) + 1
    path = make_new_folder(folder, f"{stamp}-{plan.digest[:6]}", files, count=count)
    return write_run(path, plan, suite_text, files=files)


def find_unfinished(
    reports: Path,
    suite_name: str,
    plan: Plan,
    *,
    note: Note = lambda _sentence: None,
    files: Files = OS_FILES,
) -> RunDirectory | None:
    """The newest run of this plan, unless it is finished: unless its report has a row for every trial.

    `note` is told of a report that does not count because it is damaged.

    Raises:
        InvalidInputError: That run is damaged, another tool's, or a newer harness's; it is left untouched.
        StorageError: It cannot be read.
    """
    for path in _runs(reports, suite_name):
        if path.name.split("-")[1] != plan.digest[:6] or not is_there(path / "plan.json"):
            continue
        with _offering_a_new_run():
            run = open_run(path, files=files)
            if run.plan.digest == plan.digest:
                # Equal but for where data are read, which may have changed; and in memory once.
                return None if is_finished(run.path, run.plan, note) else replace(run, plan=plan)
    return None


@contextmanager
def _offering_a_new_run() -> Iterator[None]:
    try:
        yield
    except InvalidInputError as error:
        first = error.hint if isinstance(error, NewerSchemaError) else "Restore the file from a copy."
        hint = f"{first} Or start a new run with --fresh: the unfinished one is not changed."
        raise type(error)(error.message, hint=hint) from error


def find_latest(
    reports: Path, suite_name: str, *, note: Note = lambda _sentence: None
) -> RunDirectory | None:
    """The newest run of the suite, of whatever plan, that this version can read.

    `note` is told of each newer one that it cannot read.
    """
    for path in _runs(reports, suite_name):
        if not is_there(path / "plan.json"):
            continue
        try:
            return open_run(path)
        except (InvalidInputError, StorageError) as error:
            note(error.message)
    return None


def hold_suite(reports: Path, suite_name: str) -> AbstractContextManager[None]:
    """Lock the suite's folder while a run is looked for or created, so that concurrent starts see each other.

    It waits for other processes, which lock it as briefly: lock the run itself before leaving this context.
    """
    return hold_lock(suite_folder(reports, suite_name) / LOCK, wait=True)


def suite_folder(reports: Path, suite_name: str, *, files: Files = OS_FILES) -> Path:
    """`reports/<suite>`, created if need be.

    Raises:
        InvalidInputError: `reports` is a file, lies inside a run, or the name cannot be a folder's.
        StorageError: It cannot be created.
    """
    if _SUITE_NAME.fullmatch(suite_name) is None:
        raise InvalidInputError(f"{suite_name!r} cannot name a folder", hint="Use letters, digits, _ and -.")
    refuse_inside_run(reports)
    try:
        make_folder(reports / suite_name, files=files)
    except (FileExistsError, NotADirectoryError) as error:
        raise InvalidInputError(
            f"{reports / suite_name}: a file is in the way", hint="Choose another folder for the reports."
        ) from error
    return reports / suite_name


def _runs(reports: Path, suite_name: str) -> Iterator[Path]:
    """The suite's run directories, newest first."""
    folder = reports / suite_name
    return (folder / found[0] for found in run_ids(folder))
