"""The runs in a folder of reports: their state, and which of them may be removed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from harness.errors import InvalidInputError, LockedError, StorageError
from harness.model.results import Report
from harness.store.baselines import kept_baselines
from harness.store.finishing import is_finished
from harness.store.folders import RUN_ID, is_real_folder, is_there, names_in, run_folders, run_ids
from harness.store.large_report import LARGE_BYTES
from harness.store.locking import LOCK, hold_lock, is_locked
from harness.store.reading import load_report, read_bytes
from harness.store.report_file import briefly
from harness.store.run_directory import open_run
from harness.store.trial_folder import RESULT
from harness.store.writing import TEMPORARY_NAME, storage_error

State = Literal["finished", "unfinished", "running", "unreadable"]
_STAMP: Final = "%Y%m%dT%H%M%SZ"
# Earlier runs that a plan reads: it has to appear at once.
_NEWEST: Final = 3
_LOOKED_AT: Final = 100


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run on disk.

    `done` of its `trials` have a result, None where there is no plan. `report` is in brief, None before it is
    written; `problem` is the reason why a file cannot be read.
    """

    path: Path
    suite: str
    state: State
    started: datetime | None
    size_bytes: int
    trials: int | None = None
    done: int | None = None
    report: Report | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Fate:
    """A run, and why `clean` keeps it; empty for one that it removes."""

    run: StoredRun
    kept: str = ""


def stored_runs(folder: Path) -> Iterator[StoredRun]:
    """Return every run below a folder, by path.

    Raises:
        InvalidInputError: It is a file.
        StorageError: The operating system refused to read a folder.
    """
    _refuse_file(folder)
    return map(describe_run, run_folders(folder))


def _refuse_file(reports: Path) -> None:
    # What else cannot be read is told when it is.
    with suppress(OSError):
        if reports.is_file():
            raise InvalidInputError(
                f"{reports} is not a folder", hint="Name the folder of run directories with --reports."
            )


def describe_run(path: Path) -> StoredRun:
    """Return the state of a run; a file that cannot be read is its problem, no error."""
    suite, trials, done, report = path.parent.name, None, None, None
    finished, locked = True, False
    problems: list[str] = []
    try:
        if is_there(path / "plan.json"):
            plan = open_run(path).plan
            suite, trials = plan.suite, len(plan.trials)
            done = sum(is_there(path / "trials" / trial_id / RESULT) for trial_id in plan.trial_ids)
            finished = is_finished(path, plan)
    except (InvalidInputError, StorageError) as error:
        problems.append(error.message)
    try:
        if is_there(path / "report.json"):
            report = _brief(load_report(path, allow_unsealed=True))
            suite = report.suite.name
    except (InvalidInputError, StorageError) as error:
        problems.append(error.message)
    try:
        locked = is_locked(path / LOCK)
    except StorageError as error:
        problems.append(error.message)
    state: State = "finished" if finished else "unfinished"
    if problems:
        state = "unreadable"
    if locked:
        state = "running"
    started = _started(path.name) or (None if report is None else report.created)
    return StoredRun(
        path, suite, state, started, _size(path), trials, done, report, "; ".join(dict.fromkeys(problems))
    )


def earlier_runs(reports: Path, suite: str, checkpoints: Collection[str]) -> Iterator[StoredRun]:
    """Return the newest runs with a report, of a suite and then of others that plan one of the checkpoints.

    Their `problem` is the reason why a report is not read: damaged, not allowed, or so large that reading it
    takes long.

    Raises:
        StorageError: The operating system refused to read the folder of a suite.
    """
    of_suite = (reports / suite / found[0] for found in run_ids(reports / suite))
    yield from islice(_with_report(of_suite), _NEWEST)
    wanted = [json.dumps(name).encode() for name in checkpoints]
    others = (
        (found[0], reports / other / found[0])
        for other in names_in(reports) - {suite}
        if is_real_folder(reports / other)
        for found in run_ids(reports / other)
    )
    newest = (path for _, path in sorted(others, reverse=True)[:_LOOKED_AT])
    yield from islice(_with_report(path for path in newest if _mentions(path / "plan.json", wanted)), _NEWEST)


def _with_report(paths: Iterable[Path]) -> Iterator[StoredRun]:
    for path in paths:
        file = path / "report.json"
        try:
            if not is_there(file):
                continue
            size = file.stat().st_size
        except (StorageError, OSError):
            # Describing the run gives the reason.
            size = 0
        if size > LARGE_BYTES:
            problem = f"{file}: not read, it has {size >> 20} MiB"
            yield StoredRun(path, path.parent.name, "finished", _started(path.name), 0, problem=problem)
        else:
            yield describe_run(path)


def _mentions(file: Path, quoted: Sequence[bytes]) -> bool:
    try:
        plan = read_bytes(file, follow=False, limit=LARGE_BYTES)
    except InvalidInputError:
        return False
    except StorageError:
        # Unknown: its report names the reason.
        return True
    return any(name in plan for name in quoted)


def _brief(report: Report) -> Report:
    """Return the report with results in brief: a folder can have hundreds of runs."""
    shape = briefly(result.trial for result in report.results)
    return report.model_copy(update={"results": tuple(map(shape, report.results))})


def _started(name: str) -> datetime | None:
    """Return the time in the name of a run; None if there is none."""
    found = RUN_ID.fullmatch(name)
    try:
        return None if found is None else datetime.strptime(found[1], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def _size(path: Path) -> int:
    """Return the bytes of the files in a folder; a file that disappears meanwhile has none."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += Path(folder, name).lstat().st_size
            except OSError:
                continue
    return total


def fates_of(reports: Path, keep: int) -> tuple[Fate, ...]:
    """Decide which runs to remove: those of a suite beyond the `keep` newest, unless they are protected.

    A run whose report is a kept baseline and a run that a process has locked are never removed.

    Raises:
        InvalidInputError: `reports` is a file, or a baseline cannot be read, so that its run is unknown.
        StorageError: The operating system refused to read a folder.
    """
    _refuse_file(reports)
    baselines = {
        load_report(file, allow_unsealed=True).run: name for name, file in kept_baselines(reports).items()
    }
    found = []
    for suite in sorted(names_in(reports)):
        if not is_real_folder(reports / suite):
            continue
        for place, name in enumerate(match[0] for match in run_ids(reports / suite)):
            run = describe_run(reports / suite / name)
            reason = ""
            if place < keep:
                reason = f"one of the newest {keep}"
            elif name in baselines:
                reason = f"baseline {baselines[name]}"
            elif run.state == "running":
                reason = "locked by a process"
            found.append(Fate(run, reason))
    return tuple(found)


def remove_runs(reports: Path, fates: Iterable[Fate]) -> tuple[tuple[Fate, ...], list[StorageError]]:
    """Remove the runs that these fates do not keep, and the rest of runs whose removal was interrupted.

    Return the fates as they came to be, and why runs could not be removed: the others are removed still.
    """
    found, problems = [], []
    for fate in fates:
        kept = fate.kept
        try:
            if not kept and not remove_run(fate.run.path):
                kept = "locked by a process"
        except StorageError as error:
            problems.append(error)
            kept = error.message
        found.append(replace(fate, kept=kept))
    try:
        sweep_removed(reports)
    except StorageError as error:
        problems.append(error)
    return tuple(found), problems


def remove_run(path: Path) -> bool:
    """Remove a run, unless a process has locked it; return whether it is gone, perhaps by another process.

    The run gets another name under the lock of its suite first: whatever happens then, no half of it is
    taken for a run.

    Raises:
        StorageError: The operating system refused a step.
    """
    grave = path.with_name(f".harness-{secrets.token_hex(8)}.tmp")
    try:
        with hold_lock(path.parent / LOCK, wait=True), hold_lock(path / LOCK):
            path.rename(grave)
    except LockedError:
        return False
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return True
        raise
    except OSError as error:
        raise storage_error(error, f"cannot remove {path}") from error
    _remove(grave)
    return True


def sweep_removed(reports: Path) -> None:
    """Remove the rest of runs whose removal was interrupted.

    Raises:
        StorageError: The operating system refused a step.
    """
    for suite in sorted(names_in(reports)):
        if is_real_folder(reports / suite):
            for name in sorted(names_in(reports / suite)):
                if TEMPORARY_NAME.fullmatch(name) and is_real_folder(reports / suite / name):
                    _remove(reports / suite / name)


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        # Another process sweeps, too.
        return
    except OSError as error:
        raise storage_error(error, f"cannot remove {folder}") from error
