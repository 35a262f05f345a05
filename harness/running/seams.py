"""What a cluster or a test puts in place of this machine, and the result of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import InvalidInputError, exit_code
from harness.model.assets import AssetsMode
from harness.model.results import Report
from harness.running.executor import Executor, WorkerSetup
from harness.running.interpreter import Interpreter
from harness.running.options import RunOptions
from harness.running.preflight import Assets, Machine, RealAssets, this_machine
from harness.running.workers.local import LocalExecutor
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
    executor: Callable[[WorkerSetup, float], Executor] = lambda setup, grace_s: LocalExecutor(
        setup, grace_s=grace_s
    )
    count: Callable[[str, int], int] = lambda _device, _threads: 1
    interpreter: Interpreter | None = None


@dataclass(frozen=True)
class Run:
    """A run that has ended: its report, its directory, and the signal that interrupted it, or None.

    `brief` is the report; of more than 200 trials without predictions and with one value, the median, for
    each metric, which is all that its tables need.
    """

    brief: Report
    directory: Path
    interrupted: int | None = None

    @property
    def exit_code(self) -> int:
        """0 if every trial completed, 1 if not, 130 or 143 after an interrupt."""
        completed = all(result.status == "completed" for result in self.brief.results)
        return exit_code(passed=completed, interrupted=self.interrupted)

    @cached_property
    def report(self) -> Report:
        """Return the whole report, read on first use: one of many trials takes much memory.

        Raises:
            InvalidInputError: It has been damaged or removed since.
            StorageError: The operating system refused to read it.
        """
        return load_report(self.directory)


Render = Callable[[Report], tuple[str, str | None]]


@contextmanager
def seams_of(options: RunOptions, given: Seams | None, note: Callable[[str], None]) -> Iterator[Seams]:
    """The machine that the options name, for as long as a run needs it; `given` takes its place.

    `note` is told which cluster that is.

    Raises:
        InvalidInputError: the address of the cluster is none that can be used from here, or not asked for.
        UnavailableError: there is no such cluster, it refuses the token, or `ray` is not installed.
    """
    if options.executor != "ray" and options.ray_address is not None:
        raise InvalidInputError(
            "an address of a Ray cluster, and no trial that would run there",
            hint="Add --executor ray, or leave out --ray-address.",
        )
    if given is not None or options.executor == "local":
        yield given or Seams()
        return
    # Most runs need none of this.
    from harness.machine.requirements import require_extra  # noqa: PLC0415
    from harness.running.ray.cluster import ray_cluster  # noqa: PLC0415

    require_extra("ray")
    with ray_cluster(options.ray_address) as cluster:
        note(cluster.describe())
        yield Seams(machine=cluster.machine, executor=cluster.executor, count=cluster.count)
