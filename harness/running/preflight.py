"""Before the first trial: find every checkpoint, data set and device, and refuse what cannot or must not run.

Refused are lengths that a checkpoint cannot take, and suites with a secret, which every file would repeat.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from harness.assets.checkpoint_folder import unreadable
from harness.assets.checkpoint_limits import InputLimits, input_limits
from harness.assets.digest import checkpoint_digests, files_sha256
from harness.assets.find_checkpoint import find_checkpoint
from harness.assets.find_data import find_data
from harness.assets.places import Note, cache_root
from harness.data.checking import check_data
from harness.errors import InvalidInputError, UnavailableError
from harness.foreign import name_of_file
from harness.machine.facts import available_devices, installed_torch
from harness.machine.redaction import holds_secret
from harness.model.assets import AssetsMode, ResolvedCheckpoint, ResolvedData
from harness.model.environment import Torch
from harness.model.job import Job
from harness.model.results import TrialResult
from harness.model.suite import Measure, Suite
from harness.model.tasks import Task
from harness.model.trial import Trial
from harness.model.values import Padding
from harness.words import count

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
    """The jobs that can run, by trial id in plan order; the reasons of the others; the chosen assets."""

    jobs: dict[str, Job]
    unavailable: dict[str, str]
    chosen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """The devices here, best first, and the torch that computes on them.

    `name` is what a message calls the machine. `processors` are the models of a cluster's, empty where they
    are unknown, None for our own. Where `cuda:0` means any GPU of a cluster, `together` is how many one trial
    can have on a node. `nodes` describes each node of a cluster that can run trials.
    """

    devices: tuple[str, ...]
    torch: Torch
    name: str = "this machine"
    processors: tuple[str, ...] | None = None
    together: int | None = None
    nodes: tuple[str, ...] = ()

    def missing(self, trial: Trial) -> str | None:
        """Return which devices of a trial are not here, and what is; None if nothing is missing."""
        if self.together is not None and trial.device in self.devices:
            if len(trial.devices) <= self.together:
                return None
            gpus = count(self.together, "GPU")
            return f"world_size {trial.world_size}: no node of {self.name} has more than {gpus}"
        missing = [device for device in trial.devices if device not in self.devices]
        if not missing:
            return None
        what = ", ".join(missing)
        if trial.world_size > 1:
            what = f"world_size {trial.world_size} from {trial.device} on needs {what}"
        return f"{what}: not here; {self.name} has {', '.join(self.devices)} and {self.torch}"


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
        if (missing := machine.missing(trial)) is not None:
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
    """Return the found asset, or the reason why it is unavailable."""
    try:
        return find()
    except UnavailableError as error:
        return error.one_line


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"{name}: {name_of_file(error)} {unreadable(error)}",
            hint="Check the file and its permissions, then run the same command again.",
        ) from error


def _describe(found: ResolvedCheckpoint | ResolvedData) -> str:
    """Describe a chosen asset in one sentence, equal on every machine with the same choice."""
    stand_in = isinstance(found, ResolvedCheckpoint) and found.stand_in
    synthetic = isinstance(found, ResolvedData) and found.synthetic
    # The Hub and its cache are the same choice: a second run must read like the first.
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


def refuse_lengths(trials: Sequence[Trial], checkpoints: Mapping[str, ResolvedCheckpoint]) -> None:
    """Check that every row of these trials fits into its checkpoint, as far as its files limit it.

    What only the data can tell, the longest example for instance, is for the worker to refuse.

    Args:
        trials: to run.
        checkpoints: the resolved one of each, by trial id.

    Raises:
        InvalidInputError: naming each length with the limit it is beyond, and each tokenizer that cannot pad.
    """
    limits = {path: input_limits(Path(path)) for path in {found.path for found in checkpoints.values()}}
    complaints = dict.fromkeys(
        complaint
        for trial in trials
        if (found := checkpoints.get(trial.id)) is not None
        for complaint in _complaints(trial, _name(found), limits[found.path])
    )
    if complaints:
        raise InvalidInputError(
            "\n".join(complaints),
            hint="Change task.max_length or the padding in the suite, or choose another checkpoint.",
        )


def _complaints(trial: Trial, name: str, limits: InputLimits) -> Iterator[str]:
    if not limits.pads:
        yield f"{name}: its tokenizer has no padding token, so rows of different length make no batch"
    if limits.longest is None:
        return
    if (wanted := trial.task.max_length) is not None and wanted > limits.longest:
        yield f"task.max_length: {wanted} is more than the {limits.longest} tokens that {name} takes"
    if (length := _static_length(trial.padding)) is not None and length > limits.longest:
        yield f"padding {trial.padding}: {length} tokens are more than the {limits.longest} that {name} takes"


def _static_length(padding: Padding) -> int | None:
    if padding.length is None:
        return None
    multiple = padding.multiple_of or 1
    return -(-padding.length // multiple) * multiple


def _name(found: ResolvedCheckpoint) -> str:
    return f"{found.requested} (stand-in {found.name})" if found.stand_in else found.requested


def refuse_secrets(suite: Suite, secrets: Sequence[str]) -> None:
    """Check that no value of the suite is a secret, which plans, results and reports would contain.

    Raises:
        InvalidInputError: naming the key, not the value.
    """
    document = json.loads(suite.model_dump_json())
    for key, text in _texts("", document):
        if holds_secret(text, secrets):
            raise InvalidInputError(
                f"{key}: contains something like a password or token, which would be written into the report",
                hint="Take it out; log in by `hf auth login` or HF_TOKEN, which are never written.",
            )


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Return every text in a JSON document with its dotted key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield key or "the suite", str(name)
            yield from _texts(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(key, inner)
