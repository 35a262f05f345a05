"""Weights & Biases: an offline run for each trial, which `wandb sync` uploads later."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import wandb

from harness.output.trackers.runs import TrackedRun

_WHOLE: Final = "whole"


@contextmanager
def open_tracker(folder: Path, project: str) -> Iterator[Offline]:
    """Open the folder `wandb` in a folder, for runs of a project."""
    folder.mkdir(parents=True, exist_ok=True)
    yield Offline(folder, project)


@dataclass(frozen=True, slots=True)
class Offline:
    """A folder of offline runs; an empty file marks a run that was written to its end."""

    folder: Path
    project: str

    def has(self, key: str) -> bool:
        """Return whether a whole run with that key is stored."""
        return any((found / _WHOLE).exists() for found in self._folders(key))

    def add(self, run: TrackedRun) -> None:
        """Store a run, in place of one that was stored in part."""
        for partial in self._folders(run.key):
            shutil.rmtree(partial)
        with wandb.init(
            mode="offline",
            dir=str(self.folder),
            project=self.project,
            id=run.key,
            name=run.name,
            group=run.group,
            config={**run.settings, **run.tags},
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, save_code=False),
        ) as opened:
            steps = max(map(len, run.series.values()), default=0)
            for step in range(steps):
                opened.log(
                    {
                        f"steps/{name}": values[step]
                        for name, values in run.series.items()
                        if step < len(values)
                    }
                )
            opened.summary.update(dict(run.metrics))
        for written in self._folders(run.key):
            (written / _WHOLE).touch()

    def _folders(self, key: str) -> list[Path]:
        return sorted((self.folder / "wandb").glob(f"offline-run-*-{key}"))
