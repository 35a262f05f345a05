"""Before the first trial: find every checkpoint, data set and device, and say what was chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from harness.assets.digest import checkpoint_digests, files_sha256
from harness.assets.resolve import cache_root, find_checkpoint, find_data
from harness.data.checking import check_data
from harness.errors import UnavailableError
from harness.machine.facts import available_devices, installed_torch
from harness.model.assets import AssetsMode, ResolvedCheckpoint, ResolvedData
from harness.model.environment import Torch
from harness.model.job import Job
from harness.model.results import TrialResult
from harness.model.suite import Measure
from harness.model.trial import Task, Trial
from harness.running.lengths import refuse_lengths

Note = Callable[[str], None]
Found = TypeVar("Found")


class Assets(Protocol):
    """Where checkpoints and data are found; both raise UnavailableError and InvalidInputError."""

    def checkpoint(self, name: str, revision: str | None, note: Note) -> ResolvedCheckpoint:
        """The checkpoint of that name."""

    def data(self, task: Task, note: Note) -> ResolvedData:
        """The data set of a task."""


@dataclass(frozen=True, slots=True)
class RealAssets:
    """Folders, the Hub's cache, the Hub, and stand-ins where `mode` allows them.

    Both come with the digests of their files, by which every trial makes sure that it reads the same.
    """

    mode: AssetsMode

    def checkpoint(self, name: str, revision: str | None, note: Note) -> ResolvedCheckpoint:
        """The checkpoint of that name."""
        found = find_checkpoint(name, revision, self.mode, note=note)
        with _readable(name):
            return found.model_copy(update={"digests": checkpoint_digests(Path(found.path))})

    def data(self, task: Task, note: Note) -> ResolvedData:
        """The data set of a task, checked, with the digest of its files.

        The digest is taken first: a file that changes while it is checked is then found by the trials.

        Raises:
            InvalidInputError: with everything that is wrong with it.
        """
        found = find_data(task, self.mode, note=note)
        with _readable(task.name):
            found = found.model_copy(update={"files_sha256": files_sha256(found.files)})
        check_data(task, found, note=note)
        return found


@dataclass(frozen=True, slots=True)
class Prepared:
    """The jobs that can run, by trial id in the plan's order; why the others cannot; what was chosen."""

    jobs: dict[str, Job]
    unavailable: dict[str, str]
    chosen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """The devices here, best first, and the torch that computes on them.

    `name` is what a message calls the machine. `processors` are the models of a cluster's, None for our own.
    """

    devices: tuple[str, ...]
    torch: Torch
    name: str = "this machine"
    processors: tuple[str, ...] | None = None


def this_machine() -> Machine:
    """The devices that torch can use here."""
    return Machine(available_devices(), installed_torch())


def prepare(
    trials: Sequence[Trial], measure: Measure, assets: Assets, machine: Machine, note: Note
) -> Prepared:
    """Find all that the trials need, each thing once.

    Raises:
        InvalidInputError: a name that can be no checkpoint's or data set's, or a length that a checkpoint
            does not take.
    """
    checkpoints = {
        key: _find(partial(assets.checkpoint, *key, note))
        for key in dict.fromkeys((trial.checkpoint, trial.revision) for trial in trials)
    }
    data = {
        task: _find(partial(assets.data, task, note))
        for task in dict.fromkeys(trial.task for trial in trials)
    }
    cache = str(cache_root(note).absolute())
    jobs: dict[str, Job] = {}
    unavailable: dict[str, str] = {}
    for trial in trials:
        checkpoint, dataset = checkpoints[trial.checkpoint, trial.revision], data[trial.task]
        if (missing := _missing_device(trial.device, machine)) is not None:
            unavailable[trial.id] = missing
        elif isinstance(checkpoint, str):
            unavailable[trial.id] = checkpoint
        elif isinstance(dataset, str):
            unavailable[trial.id] = dataset
        else:
            jobs[trial.id] = Job(
                trial=trial, measure=measure, checkpoint=checkpoint, data=dataset, cache_dir=cache
            )
    refuse_lengths(trials, {id_: job.checkpoint for id_, job in jobs.items()})
    found = (*checkpoints.values(), *data.values())
    chosen = tuple(_describe(one) for one in found if not isinstance(one, str))
    for sentence in chosen:
        note(sentence)
    return Prepared(jobs, unavailable, chosen)


def require(prepared: Prepared, *, strict: bool) -> None:
    """Make sure that something can run, or with `strict` that everything can.

    Raises:
        UnavailableError: naming each thing that is missing.
    """
    if prepared.unavailable and (strict or not prepared.jobs):
        reasons = "\n".join(dict.fromkeys(prepared.unavailable.values()))
        count = len(prepared.unavailable)
        total = count + len(prepared.jobs)
        raise UnavailableError(f"{count} of {total} trials cannot run:\n{reasons}")


def unavailable_row(trial: Trial, reason: str) -> TrialResult:
    """The row of a trial that lacks something here."""
    return TrialResult(
        trial=trial,
        status="unavailable",
        phase="start",
        reason=reason,
        started=datetime.now(UTC),
        duration_s=0.0,
    )


def _find(find: Callable[[], Found]) -> Found | str:
    """What was found, or why it cannot be had."""
    try:
        return find()
    except UnavailableError as error:
        return error.one_line


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        file = Path(str(error.filename)).name
        raise UnavailableError(
            f"{name}: {file} cannot be read: {error.strerror}",
            hint="Check the file and its permissions, then run the same command again.",
        ) from error


def _missing_device(device: str, machine: Machine) -> str | None:
    if device in machine.devices:
        return None
    return f"{device}: not here; {machine.name} has {', '.join(machine.devices)} and {machine.torch}"


def _describe(found: ResolvedCheckpoint | ResolvedData) -> str:
    """What was chosen, in one sentence that is the same on every machine that chose the same."""
    stand_in = isinstance(found, ResolvedCheckpoint) and found.stand_in
    synthetic = isinstance(found, ResolvedData) and found.synthetic
    # The Hub and its cache hold the same: a second run must not read like another choice.
    source = "Hub" if found.source in ("hub", "hub cache") else found.source
    parts = [found.requested]
    if found.name != found.requested:
        parts.append(f"{'stand-in ' if stand_in else ''}{found.name}")
    parts.append(source)
    if found.revision is not None:
        parts.append(f"commit {found.revision[:12]}")
    if synthetic:
        parts.append("synthetic")
    kind = "checkpoint" if isinstance(found, ResolvedCheckpoint) else "data"
    return f"{kind} {parts[0]}: {', '.join(parts[1:])}"
