"""Data exchanged between the parent process, a worker and an observer of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Final, Literal, Protocol

from pydantic import Field

from harness.errors import HarnessError
from harness.model.assets import ResolvedCheckpoint, ResolvedData
from harness.model.frozen import Frozen, is_none
from harness.model.results import TrialResult
from harness.model.status import Phase, StatusName
from harness.model.suite import Measure
from harness.model.trial import Trial

RENDEZVOUS: Final = "HARNESS_RENDEZVOUS"
"""The environment variable with the file where the ranks of a trial meet; `torchrun`'s tell them apart."""


class Job(Frozen):
    """A trial with its assets and settings. `cache_dir` contains tokenized arrays shared by trials.

    `purpose` is `train`, `prove` (the variant computes the plain function) or `prove_training` (the engine
    trains as the reference does). `concurrent` is the number of trials that may run on the device at the
    same time. `allow_weights` is the setting of the suite. `failures` describes each earlier attempt.
    `save_to` is the folder that gets the trained model; None saves none. `folder` is the trial's folder, set
    by its worker.
    """

    trial: Trial
    purpose: Literal["train", "prove", "prove_training"] = "train"
    measure: Measure
    checkpoint: ResolvedCheckpoint
    data: ResolvedData
    cache_dir: str
    concurrent: int = 1
    allow_weights: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    # Omit the default: `harness ab` gives jobs to other versions, which reject unknown keys.
    save_to: Annotated[str | None, Field(exclude_if=is_none)] = None
    folder: Annotated[str | None, Field(exclude_if=is_none)] = None

    def allows_weight(self, name: str) -> bool:
        """Return whether the suite allows the checkpoint to lack this weight, or the model to drop it."""
        return any(fnmatchcase(name, pattern) for pattern in self.allow_weights)

    def completed_by(self, result: TrialResult) -> TrialResult:
        """Return the result with the fields set by the job: concurrency and earlier attempts."""
        return result.model_copy(
            update={
                "concurrent": self.concurrent,
                "attempts": len(self.failures) + 1,
                "notes": (*result.notes, *self.failures),
            }
        )


class Progress(Frozen):
    """One line of a worker's progress; `step` counts optimizer steps over all epochs."""

    phase: Phase
    step: int = 0
    steps: int = 0
    epoch: int = 0
    loss: float | None = None
    real_tokens_per_second: float | None = None


Announce = Callable[[Progress], None]


class RunTrial(Protocol):
    """The function that runs a trial in a worker.

    `harness.training.run_trial:run_trial` trains; tests use other implementations.
    """

    def __call__(self, job: Job, announce: Announce) -> TrialResult:
        """Run the trial; announce each phase when it begins, and progress every few steps."""


class TrialStoppedError(HarnessError):
    """A trial stopped with status `unavailable`, `diverged`, `oom` or `failed`."""

    def __init__(self, status: StatusName, reason: str, *, hint: str | None = None) -> None:
        super().__init__(reason, hint=hint)
        self.status: StatusName = status


class Observer:
    """Receives the events of a run. Does nothing: subclass it and override the events you need.

    Example:
        class Printer(Observer):
            def finished(self, result):
                print(result.trial.id, result.status)
    """

    def planned(self, trials: Sequence[Trial], reused: Sequence[TrialResult]) -> None:
        """Receive the trials in the order they will run, and the results taken over from an earlier run."""

    def note(self, text: str) -> None:
        """Receive a note for the user: an asset chosen, a run resumed, a field that differs."""

    def proving(self, running: Sequence[str], done: int, total: int) -> None:
        """Receive the names of the proofs that run now, and how many of all are done."""

    def started(self, trial: Trial) -> None:
        """Receive a trial that was given to a worker."""

    def progressed(self, trial: Trial, progress: Progress) -> None:
        """Receive the progress of a trial's worker."""

    def finished(self, result: TrialResult) -> None:
        """Receive the result of a trial, of any status."""
