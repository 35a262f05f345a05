"""Weights & Biases: an offline run for each trial, which `wandb sync` uploads later."""

from __future__ import annotations

import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import wandb
from wandb.proto.wandb_internal_pb2 import Record

from harness.errors import StorageError
from harness.output.trackers.runs import TrackedRun

_WHOLE: Final = "whole"
_WRITING_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.05


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
            if not _is_soon_whole(written, steps):
                raise StorageError(
                    f"{written}: wandb wrote only a part of {run.name}",
                    hint="See debug-core.log in its logs, free some space, then run the same command again.",
                )
            (written / _WHOLE).touch()

    def _folders(self, key: str) -> list[Path]:
        return sorted((self.folder / "wandb").glob(f"offline-run-*-{key}"))


def _is_soon_whole(folder: Path, steps: int) -> bool:
    """Wait until wandb's process has written the whole run, and return whether it did.

    The process finishes after `wandb.init` has returned, and only logs its errors.
    """
    deadline = time.monotonic() + _WRITING_SECONDS
    while True:
        kinds = [kind for file in folder.glob("*.wandb") for kind in _kinds(file.read_bytes())]
        if "exit" in kinds and kinds.count("history") >= steps:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_SECONDS)


_HEADER: Final = 7
_BLOCK: Final = 2**15
_FULL, _FIRST, _LAST = 1, 2, 4


def _kinds(data: bytes) -> Iterator[str]:
    """Yield the kind of each record of an offline run, up to the first one that is torn.

    The file has a header, then blocks of LevelDB's log format, whose records are `Record` of protobuf:
    https://github.com/google/leveldb/blob/main/doc/log_format.md
    """
    at, record = _HEADER, b""
    while at + _HEADER <= len(data):
        if (left := _BLOCK - at % _BLOCK) < _HEADER:
            at += left
            continue
        _, length, part = struct.unpack_from("<IHB", data, at)
        piece = data[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
        if not part or len(piece) < length:
            return
        record = piece if part in (_FULL, _FIRST) else record + piece
        if part in (_FULL, _LAST):
            yield Record.FromString(record).WhichOneof("record_type")
