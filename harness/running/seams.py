"""What a cluster or a test puts in place of this machine, and the result of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis.parity import verdict_of
from harness.analysis.training_verdicts import training_verdict
from harness.errors import InvalidInputError, StorageError, exit_code
from harness.model.assets import AssetsMode
from harness.model.results import Report
from harness.model.status import STATUSES
from harness.running.executor import Executor, WorkerSetup
from harness.running.options import RunOptions
from harness.running.preflight import Assets, Machine, RealAssets, this_machine
from harness.running.workers.interpreter import Interpreter
from harness.running.workers.local import LocalExecutor
from harness.store.reading import load_report

if TYPE_CHECKING:
    from harness.running.ray.ray_nodes import RayCluster
    from harness.running.slurm.cluster import SlurmCluster


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
        """1 if a trial did not complete or a proof differs, 130 or 143 after an interrupt, else 0."""
        completed = all(result.status == "completed" for result in self.brief.results)
        functions, trainings = self.brief.proofs, self.brief.training_proofs
        differs = "differs" in (*map(verdict_of, functions), *map(training_verdict, trainings))
        return exit_code(passed=completed and not differs, interrupted=self.interrupted)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to run, so that the same command would begin another run."""
        ended = all(STATUSES[result.status].final for result in self.brief.results)
        return ended and (self.brief.looks is None or self.brief.looks.finished)

    @cached_property
    def report(self) -> Report:
        """Return the whole report, read on first use: one of many trials takes much memory.

        Raises:
            InvalidInputError: It has been damaged or removed since, or another run has written a newer one.
            StorageError: The operating system refused to read it.
        """
        found = load_report(self.directory)
        if found.created != self.brief.created:
            raise InvalidInputError(
                f"{self.directory}: its report of {self.brief.created} was replaced by one of "
                f"{found.created}",
                hint="Read `report` before the run is resumed or its trials run again.",
            )
        return found


Render = Callable[[Report], tuple[str, str | None]]


@contextmanager
def seams_of(options: RunOptions, given: Seams | None, note: Callable[[str], None]) -> Iterator[Seams]:
    """The machine that the options name, for as long as a run needs it; `given` takes its place.

    `note` is told which cluster that is.

    Raises:
        InvalidInputError: the address or an option of the cluster cannot be used from here, or is not asked
            for, or its nodes cannot see the folder of reports.
        UnavailableError: there is no such cluster, it refuses the token, or its package is not installed.
    """
    if options.executor != "ray" and options.ray_address is not None:
        raise InvalidInputError(
            "an address of a Ray cluster, and no trial that would run there",
            hint="Add --executor ray, or leave out --ray-address.",
        )
    if options.executor != "slurm" and options.slurm:
        raise InvalidInputError(
            "options of Slurm, and no trial that would run there",
            hint="Add --executor slurm, or leave out --slurm.",
        )
    if given is not None or options.executor == "local":
        yield given or Seams()
        return
    # Most runs need none of this.
    from harness.machine.requirements import require_extra  # noqa: PLC0415

    require_extra(options.executor)
    with _cluster(options) as cluster:
        note(cluster.describe())
        yield Seams(machine=cluster.machine, executor=cluster.executor, count=cluster.count)


def _cluster(options: RunOptions) -> AbstractContextManager[RayCluster | SlurmCluster]:
    if options.executor == "slurm":
        from harness.running.slurm.cluster import slurm_cluster  # noqa: PLC0415

        return nullcontext(slurm_cluster(options.slurm, absolute_reports(options), local=options.slurm_local))
    from harness.running.ray.ray_nodes import ray_cluster  # noqa: PLC0415

    return ray_cluster(options.ray_address)


def absolute_reports(options: RunOptions) -> Path:
    """The folder of the reports as an absolute path.

    Raises:
        StorageError: it is relative to a current directory that was removed.
    """
    try:
        return options.reports.absolute()
    except FileNotFoundError as error:
        raise StorageError(
            f"{options.reports}: the current directory does not exist any more",
            hint="Change to another one, or give --reports an absolute path.",
        ) from error
