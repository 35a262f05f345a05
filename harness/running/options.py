"""How a suite is run, what a cluster or a test puts in place of this machine, and the result of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from harness.errors import InvalidInputError, exit_code
from harness.model.assets import AssetsMode
from harness.model.results import Report
from harness.running.executor import Executor, WorkerSetup
from harness.running.interpreter import Interpreter
from harness.running.preflight import Assets, Machine, RealAssets, this_machine
from harness.running.resume import Rerun
from harness.running.workers.local import GRACE_SECONDS, LocalExecutor
from harness.store.reading import load_report

DEFAULT_RUNNER: Final = "harness.training.run_trial:run_trial"
"""What trains, by name: importing it here would import torch."""

ExecutorName = Literal["local", "ray"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a suite is run.

    `assets` says where checkpoints and data may come from, `reports` where run directories go. `strict`
    refuses to run when anything is unavailable. `fresh` starts anew, `rerun` runs the failed or all again,
    `wait` waits for another process to let go of the run. `trial_timeout_s` takes the place of the suite's.
    `retries` is for trials that were killed, timed out or could not be started. `fail_fast` ends the run at
    the first trial that does not complete, `same_error` spares the rest of an axis' value after so many equal
    errors (0: never). `jobs` trials run at once on a device, and if more than one their times do not count.
    `parity` proves every variant before the first trial. `executor` says where trials run: in processes of
    this machine, or on the Ray cluster at `ray_address` (None: at RAY_ADDRESS, or the one that this machine
    is a node of). `interpreter` is what local workers use, None for this program's. `runner` is
    `module:function`; `grace_s` is how long a worker that is told to end may take.
    """

    assets: AssetsMode = "auto"
    reports: Path = Path("reports")
    strict: bool = False
    fresh: bool = False
    rerun: Rerun | None = None
    wait: bool = False
    trial_timeout_s: float | None = None
    retries: int = 0
    fail_fast: bool = False
    same_error: int = 0
    jobs: int = 1
    parity: bool = True
    executor: ExecutorName = "local"
    ray_address: str | None = None
    interpreter: Interpreter | None = None
    runner: str = DEFAULT_RUNNER
    grace_s: float = GRACE_SECONDS


@dataclass(frozen=True, slots=True)
class Seams:
    """What a cluster or a test puts in place of this machine.

    Where assets are found, which devices there are, who runs, and how many of a device there are that have as
    many CPUs as a trial has threads.
    """

    assets: Callable[[AssetsMode], Assets] = RealAssets
    machine: Callable[[], Machine] = this_machine
    executor: Callable[[WorkerSetup, float], Executor] = lambda setup, grace_s: LocalExecutor(
        setup, grace_s=grace_s
    )
    count: Callable[[str, int], int] = lambda _device, _threads: 1


@dataclass(frozen=True)
class Run:
    """A run that has ended: its report, its directory, and the signal that interrupted it, or None.

    `brief` is the report without any trial's predictions and with one value, the median, for each metric,
    which is all that its tables need.
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
        """The whole report, read when it is first asked for: of many trials it takes much memory.

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
