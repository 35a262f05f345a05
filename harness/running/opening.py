"""Open and lock the run directory to work in: the unfinished run of the same plan, or a new one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.assets.places import Note
from harness.errors import LockedError
from harness.model.results import TrialResult
from harness.running.options import Rerun
from harness.store.plan import Plan
from harness.store.report_file import briefly
from harness.store.run_directory import (
    RunDirectory,
    create_run,
    find_latest,
    find_unfinished,
    hold_suite,
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A run directory that this process has locked.

    `found` are its finished results in brief, by trial id; `problems` are sentences about files that do not
    count because they are damaged. `edited` is an unfinished run of another plan of the same suite, whose
    results may be taken over into this new one.
    """

    directory: RunDirectory
    resumed: bool
    found: dict[str, TrialResult]
    problems: tuple[str, ...]
    edited: RunDirectory | None = None


@contextmanager
def open_directory(
    reports: Path, plan: Plan, suite_text: bytes, *, fresh: bool, rerun: Rerun | None, wait: bool
) -> Iterator[Opened]:
    """Lock the run directory for this plan.

    Raises:
        LockedError: another process works in it and `wait` is false.
        InvalidInputError: the folder for the reports, or an unfinished run in it, cannot be used.
        StorageError: the operating system refused a step.
    """
    with ExitStack() as held:
        opened = None
        while opened is None:
            problems: list[str] = []
            with hold_suite(reports, plan.suite):
                # Of many starts at once one creates: the others find what it created, and that it is held.
                run = None if fresh else _to_continue(reports, plan, rerun, problems.append)
                if run is None:
                    edited = None if fresh else _edited(reports, plan, problems.append)
                    run = create_run(reports, plan.suite, plan, suite_text, now=datetime.now(UTC))
                    held.enter_context(run.hold())
                    opened = Opened(run, False, {}, tuple(problems), edited)
                elif _hold(run, held, wait=wait):
                    opened = _opened(run, problems)
            if opened is None and run is not None:
                # Not under the suite's lock, which every start needs. Then check again: the run may
                # be finished, or taken by another process that waited too.
                with run.hold(wait=True):
                    pass
        yield opened


def _hold(run: RunDirectory, held: ExitStack, *, wait: bool) -> bool:
    """Lock the run; return False if another process has locked it and the caller waits."""
    try:
        held.enter_context(run.hold())
    except LockedError:
        if not wait:
            raise
        return False
    return True


def _opened(run: RunDirectory, before: Sequence[str]) -> Opened:
    run.sweep()
    found, problems = run.results(briefly(run.plan.trials))
    return Opened(run, True, found, (*before, *problems))


def _to_continue(reports: Path, plan: Plan, rerun: Rerun | None, note: Note) -> RunDirectory | None:
    unfinished = find_unfinished(reports, plan.suite, plan, note=note)
    if unfinished is not None or rerun is None:
        return unfinished
    # Asked to run parts again, also of a run that is finished.
    latest = find_latest(reports, plan.suite)
    return latest if latest is not None and latest.plan.digest == plan.digest else None


def _edited(reports: Path, plan: Plan, note: Note) -> RunDirectory | None:
    """The newest run, if it is of another plan and was left unfinished."""
    latest = find_latest(reports, plan.suite, note=note)
    # Another shard of the same plan is no earlier version of the suite.
    if latest is None or latest.plan.whole.digest == plan.whole.digest:
        return None
    found, _ = latest.results(briefly(latest.plan.trials))
    return None if found.keys() >= set(latest.plan.trial_ids) else latest
