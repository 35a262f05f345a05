"""What passes between the parent, a worker and whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Literal, Protocol

from harness.errors import HarnessError
from harness.model.assets import ResolvedCheckpoint, ResolvedData
from harness.model.frozen import Frozen
from harness.model.results import TrialResult
from harness.model.status import Phase, StatusName
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

    def __init__(self, status: StatusName, reason: str, *, hint: str | None = None) -> None:
        super().__init__(reason, hint=hint)
        self.status: StatusName = status


class Observer(Protocol):
    """Whoever watches a run: a live view, plain lines, or nobody."""

    def planned(self, trials: Sequence[Trial], reused: Sequence[TrialResult]) -> None:
        """The trials in the order they will run, and the results that are taken over from before."""

    def note(self, text: str) -> None:
        """Something a person should know: an asset chosen, a run resumed, a field that differs."""

    def started(self, trial: Trial) -> None:
        """The trial has been given to a worker."""

    def progressed(self, trial: Trial, progress: Progress) -> None:
        """The trial's worker has said where it is."""

    def finished(self, result: TrialResult) -> None:
        """The trial has a result, of whatever status."""
