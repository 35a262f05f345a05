"""What a test or a cluster puts in place of this machine, and the result of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.model.assets import AssetsMode
from harness.model.results import Report
from harness.running.executor import Executor
from harness.running.interpreter import Interpreter
from harness.running.preflight import Assets, Machine, RealAssets, this_machine
from harness.running.workers.local import LocalExecutor, Place
from harness.store.reading import load_report


@dataclass(frozen=True, slots=True)
class Seams:
    """What a cluster or a test puts in place of this machine.

    `assets` finds checkpoints and data, `machine` lists the devices, `executor` runs the trials, and `count`
    is the number of devices of a name that have as many CPUs as a trial has threads. `interpreter` is that of
    the workers, None for this program's.
    """

    assets: Callable[[AssetsMode], Assets] = RealAssets
    machine: Callable[[], Machine] = this_machine
    executor: Callable[[Place, float], Executor] = lambda place, grace_s: LocalExecutor(
        place, grace_s=grace_s
    )
    count: Callable[[str, int], int] = lambda _device, _threads: 1
    interpreter: Interpreter | None = None


@dataclass(frozen=True)
class Run:
    """A run that has ended: its report, its directory, and the signal that interrupted it, or None.

    `brief` is the report without any trial's predictions and with one value, the median, for each metric,
    which is all that its tables need.
    """

    brief: Report
    directory: Path
    interrupted: int | None = None

    @cached_property
    def report(self) -> Report:
        """Return the whole report, read on first use: one of many trials takes much memory.

        Raises:
            InvalidInputError: It has been damaged or removed since.
            StorageError: The operating system refused to read it.
        """
        return load_report(self.directory)


Render = Callable[[Report], tuple[str, str | None]]
