"""What passes between the parent, a worker and whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Literal, Protocol

from harness.errors import HarnessError
from harness.model.assets import ResolvedCheckpoint, ResolvedData
from harness.model.frozen import Frozen
from harness.model.results import Phase, Status, TrialResult
from harness.model.suite import Measure
from harness.model.trial import Trial


class Job(Frozen):
    """A trial and all it needs on this machine. `cache_dir` holds what trials share: tokenised arrays.

    `purpose` is to train it, to prove that its variant computes the plain function, or to prove that its
    engine trains as the reference does. `concurrent` is how many trials may be under way on its device at
    once. `allow_weights` is the suite's. `failures` has a sentence for each earlier attempt.
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

    def allows_weight(self, name: str) -> bool:
        """Whether the suite accepts that the checkpoint lacks this weight, or that the model drops it."""
        return any(fnmatchcase(name, pattern) for pattern in self.allow_weights)

    def completed_by(self, result: TrialResult) -> TrialResult:
        """The result with the fields that the job determines: concurrency and earlier attempts."""
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
    """What a worker calls to run a trial.

    The one that trains is `harness.training.run_trial:run_trial`; tests name another.
    """

    def __call__(self, job: Job, announce: Announce) -> TrialResult:
        """Run the trial, announcing each phase as it begins and progress every few steps."""


class TrialStoppedError(HarnessError):
    """A trial that ended in a status of its own: `unavailable`, `diverged`, `oom` or `failed`."""

    def __init__(self, status: Status, reason: str, *, hint: str | None = None) -> None:
        super().__init__(reason, hint=hint)
        self.status: Status = status


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

    def started(self, trial: Trial) -> None:
        """Receive a trial that was given to a worker."""

    def progressed(self, trial: Trial, progress: Progress) -> None:
        """Receive the progress of a trial's worker."""

    def finished(self, result: TrialResult) -> None:
        """Receive the result of a trial, of any status."""
