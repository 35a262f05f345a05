"""Trackio: a run for each trial in its local database, which `trackio show` displays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.errors import InvalidInputError
from harness.output.trackers.runs import TrackedRun

if find_spec("trackio") is None:
    raise ImportError("No module named 'trackio'")


@contextmanager
def open_tracker(folder: Path, project: str) -> Iterator[Trackio]:
    """Open the database of a project in a folder.

    Raises:
        InvalidInputError: Trackio was imported before, with another folder.
    """
    # Trackio reads its folder once, when it is imported.
    os.environ["TRACKIO_DIR"] = str(folder.absolute())
    from trackio.sqlite_storage import SQLiteStorage  # noqa: PLC0415
    from trackio.utils import TRACKIO_DIR  # noqa: PLC0415

    if folder.absolute() != TRACKIO_DIR:
        raise InvalidInputError(
            f"{folder}: trackio already uses {TRACKIO_DIR}",
            hint="Use a new process for another folder.",
        )
    yield Trackio(SQLiteStorage, project)


@dataclass(frozen=True, slots=True)
class Trackio:
    """A project of the local database, to which a run is added in one transaction or not at all."""

    storage: Any
    project: str

    def has(self, key: str) -> bool:
        """Return whether a whole run with that key is stored."""
        return any(record["id"] == key for record in self.storage.get_run_records(self.project))

    def add(self, run: TrackedRun) -> None:
        """Store a run."""
        steps = max(map(len, run.series.values()), default=0)
        rows: list[dict[str, float]] = [dict(run.metrics)]
        rows += [
            {f"steps/{name}": values[step] for name, values in run.series.items() if step < len(values)}
            for step in range(steps)
        ]
        each = timedelta(seconds=run.seconds / len(rows))
        self.storage.bulk_log(
            self.project,
            run.name,
            rows,
            steps=[*range(len(rows))],
            timestamps=[(run.started + each * at).isoformat() for at in range(len(rows))],
            config={**run.settings, **run.tags, "_Group": run.group},
            run_id=run.key,
        )
