"""The trackers that trials can be exported to, by name, and the export itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, Literal, Protocol, cast

from harness.errors import HarnessError, StorageError, UnavailableError
from harness.machine.requirements import install_hint, require_extra
from harness.model.results import Report
from harness.output.trackers.runs import TrackedRun, tracked_runs
from harness.store.writing import storage_error

_LONGEST_REASON: Final = 300

TrackerName = Literal["tensorboard", "mlflow", "wandb", "trackio"]


class Tracker(Protocol):
    """An open store of runs."""

    def has(self, key: str) -> bool:
        """Return whether a whole run with that key is stored."""

    def add(self, run: TrackedRun) -> None:
        """Store a run, in place of one that was stored in part; raise an exception unless it is whole."""


Open = Callable[[Path, str], AbstractContextManager[Tracker]]
"""Open the store in a folder for a project."""


@dataclass(frozen=True, slots=True)
class Place:
    """A tracker's module, which imports the tracker and has a function `open_tracker`, and its folder."""

    module: str
    folder: Path


TRACKERS: Final[dict[TrackerName, Place]] = {
    "tensorboard": Place("harness.output.trackers.tensorboard_events", Path("runs")),
    "mlflow": Place("harness.output.trackers.mlflow_store", Path("mlruns")),
    "wandb": Place("harness.output.trackers.wandb_offline", Path()),
    "trackio": Place("harness.output.trackers.trackio_store", Path("trackio")),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A run of a tracker, and whether this export added it."""

    run: TrackedRun
    added: bool


def export(report: Report, name: TrackerName, folder: Path, project: str) -> Iterator[Exported]:
    """Store every trial of a report that ran in a tracker, each once.

    Raises:
        UnavailableError: The tracker is not installed.
        StorageError: The tracker could not store a trial; those before it are stored.
    """
    require_extra(name)
    try:
        module = import_module(TRACKERS[name].module)
    except ImportError as error:
        raise UnavailableError(f"{name} cannot be imported: {error}", hint=install_hint(name, ())) from error
    try:
        with cast("Open", module.open_tracker)(folder, project) as tracker:
            for run in tracked_runs(report):
                added = not tracker.has(run.key)
                if added:
                    tracker.add(run)
                yield Exported(run, added)
    except HarnessError:
        raise
    except Exception as error:  # of any kind: trackers have their own, also for a full disk
        raise _not_stored(error, name, folder) from error


def _not_stored(error: Exception, name: TrackerName, folder: Path) -> StorageError:
    what = f"{folder}: {name} could not store the trials"
    if isinstance(error, OSError):
        return storage_error(error, what)
    reason = (str(error).strip().splitlines() or ["no reason given"])[0]
    return StorageError(
        f"{what}: {type(error).__name__}: {reason[:_LONGEST_REASON]}",
        hint="Fix that, then run the same command again: trials that are stored already stay.",
    )
