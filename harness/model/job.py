"""Data exchanged between the parent process, a worker and an observer of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Final, Literal, Protocol

from pydantic import Field

from harness.errors import HarnessError
from harness.model.assets import ResolvedCheckpoint, ResolvedData
from harness.model.frozen import Frozen, is_none
from harness.model.measurements import unmeasured
from harness.model.metrics import metric_named
from harness.model.observations import Apart
from harness.model.results import TrialResult
from harness.model.status import Phase, StatusName
from harness.model.suite import Measure
from harness.model.trial import Trial

RENDEZVOUS: Final = "HARNESS_RENDEZVOUS"
"""The environment variable with the file where the ranks of a trial meet; `torchrun`'s tell them apart."""


class Job(Frozen):
    """A trial with its assets and settings. `cache_dir` contains tokenized arrays shared by trials.

    `purpose` is `train`, `prove` (the variant computes the plain function), `prove_training` (the engine
    trains as the reference does) or `time` (a window of steps, without evaluation). `concurrent` is the
    number of trials that may run on the device at the same time. `allow_weights` is the setting of the suite.
    `failures` describes each earlier attempt. `timed` is the result of the trial's window, for a training
    whose times do not count. `save_to` is the folder that gets the trained model; None saves none. `folder`
    is the trial's folder, set by its worker.
    """

    trial: Trial
    purpose: Literal["train", "prove", "prove_training", "time"] = "train"
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
    timed: Annotated[TrialResult | None, Field(exclude_if=is_none)] = None

    def allows_weight(self, name: str) -> bool:
        """Return whether the suite allows the checkpoint to lack this weight, or the model to drop it."""
        return any(fnmatchcase(name, pattern) for pattern in self.allow_weights)

    def completed_by(self, result: TrialResult) -> TrialResult:
        """Return the result with the fields set by the job: concurrency, earlier attempts, timed steps."""
        found = result.model_copy(
            update={
                "concurrent": self.concurrent,
                "attempts": len(self.failures) + 1,
                "notes": (*result.notes, *self.failures),
            }
        )
        return found if self.timed is None else with_times(found, self.timed)


_NOT_ALONE: Final = {
    "train_seconds": "other trials could run during the training; the rates are those of a window",
    "evaluate_seconds": "other trials could run during the evaluations",
}


def with_times(training: TrialResult, timed: TrialResult) -> TrialResult:
    """Return the result of a training with the times, rates and environment of a window.

    Both are of the same trial. Peaks of memory are those of the training, which also evaluates. Of a training
    that did not complete only the conditions change, since the times of its trial were measured alone.
    """
    changes: dict[str, object] = {"concurrent": timed.concurrent, "environment": timed.environment}
    if training.status == "completed":
        changes |= _joined(training, timed)
    return training.model_copy(update=changes)


def shared(source: TrialResult, timed: TrialResult) -> TrialResult:
    """Return the result of a trial with its own times and the scores of another trial's training.

    Args:
        source: a completed result with times of a window; of a trial with the same batches and function.
        timed: the window of the trial.
    """
    assert source.apart is not None
    found = with_times(source.model_copy(update={"trial": timed.trial}), timed)
    assert found.apart is not None
    own = {each.metric: each for each in found.measurements}
    own |= {each.metric: each for each in timed.measurements if metric_named(each.metric).family == "memory"}
    apart = source.apart.model_copy(update={"steps": found.apart.steps, "trained": source.trial.id})
    return found.model_copy(
        update={
            "measurements": tuple(own.values()),
            "checkpoint": timed.checkpoint,
            "data": timed.data,
            "apart": apart,
            "attempts": timed.attempts,
            "duration_s": timed.duration_s,
        }
    )


def _joined(training: TrialResult, timed: TrialResult) -> dict[str, object]:
    steps = timed.measurement("train_step_seconds")
    assert steps is not None
    own = {each.metric: each for each in training.measurements}
    own |= {each.metric: each for each in timed.measurements if metric_named(each.metric).family != "memory"}
    own |= {metric: unmeasured(metric, reason) for metric, reason in _NOT_ALONE.items()}
    environment = training.environment
    return {
        "measurements": tuple(own.values()),
        "probe": timed.probe,
        "notes": tuple(dict.fromkeys((*training.notes, *timed.notes))),
        "started": timed.started,
        "duration_s": timed.duration_s + training.duration_s,
        "apart": Apart(
            steps=len(steps.values),
            jobs=training.concurrent,
            threads=(environment and environment.threads) or 1,
        ),
    }


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
