"""TensorBoard: an event file for each trial, in a folder with its key."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from harness.output.trackers.runs import TrackedRun

_WHOLE: Final = "whole"


@contextmanager
def open_tracker(folder: Path, project: str) -> Iterator[TensorBoard]:
    """Open a folder of event files."""
    yield TensorBoard(folder / project)


@dataclass(frozen=True, slots=True)
class TensorBoard:
    """A folder of runs; an empty file marks a run that was written to its end."""

    folder: Path

    def has(self, key: str) -> bool:
        """Return whether a whole run with that key is stored."""
        return (self.folder / key / _WHOLE).exists()

    def add(self, run: TrackedRun) -> None:
        """Store a run, in place of one that was stored in part."""
        folder = self.folder / run.key
        shutil.rmtree(folder, ignore_errors=True)
        writer = EventFileWriter(str(folder))
        try:
            for event in _events(run):
                writer.add_event(event)
            # Raise the errors of the writing thread, which `close` ignores.
            writer.flush()
        finally:
            writer.close()
        (folder / _WHOLE).touch()


def _events(run: TrackedRun) -> Iterator[Event]:
    wall = run.started.timestamp()
    described = {"name": run.name, "run": run.group, **run.settings, **run.tags}
    lines = [f"| {name} | {text} |" for name, text in described.items()]
    table = "\n".join(["| setting | value |", "| --- | --- |", *lines])
    yield Event(wall_time=wall, step=0, summary=text_pb("trial", table))
    for metric, value in run.metrics.items():
        yield Event(wall_time=wall, step=0, summary=_scalar(metric, value))
    for metric, values in run.series.items():
        for step, value in enumerate(values, start=1):
            yield Event(wall_time=wall, step=step, summary=_scalar(f"steps/{metric}", value))


def _scalar(name: str, value: float) -> Summary:
    return Summary(value=[Summary.Value(tag=name, simple_value=value)])
