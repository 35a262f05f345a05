"""State of a run that both views show: trials done, trials running, and the estimated time left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final

from harness.analysis.naming import labels
from harness.model.job import Progress
from harness.model.metrics import metric_named
from harness.model.results import TrialResult
from harness.model.tasks import quality_headlines
from harness.model.trial import Trial
from harness.output.numbers import amount, duration, rate
from harness.output.safe_text import safe_text
from harness.words import one_line

LONGEST_NAME: Final = 120


@dataclass(slots=True)
class Running:
    """A trial that a worker has now. Times are the clock's, in seconds."""

    name: str
    since: float
    progress: Progress = field(default_factory=lambda: Progress(phase="start"))


class RunState:
    """The trials of a run, from an observer's calls; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._names: dict[str, str] = {}
        self._done: set[str] = set()
        self._durations: list[float] = []
        self.running: dict[str, Running] = {}
        self.proofs: dict[str, Running] = {}
        self.proofs_done = 0
        self.proofs_total = 0
        self.total = 0
        self.reused = 0

    @property
    def done(self) -> int:
        """Trials that have a result, of whatever status, those taken over among them."""
        return len(self._done)

    def planned(self, trials: Sequence[Trial], reused: Sequence[TrialResult]) -> None:
        """Receive the plan and the results reused from an earlier run, or the trials of the next look."""
        names = trial_names([*(result.trial for result in reused), *trials])
        self._names = {trial: safe_text(name, LONGEST_NAME) for trial, name in names.items()}
        done = {result.trial.id for result in reused}
        self.reused += len(done - self._done)
        self._done = done
        self.total = len(self._names)

    def name(self, trial: Trial) -> str:
        """The trial's name, safe to show."""
        known = self._names.get(trial.id)
        return safe_text(trial_names([trial])[trial.id], LONGEST_NAME) if known is None else known

    def proving(self, running: Sequence[str], done: int, total: int) -> None:
        """Receive the proofs that run, by name, and how many of all are done."""
        named = [safe_text(name, LONGEST_NAME) for name in running]
        self.proofs = {name: self.proofs.get(name) or Running(name, self._clock()) for name in named}
        self.proofs_done, self.proofs_total = done, total

    def started(self, trial: Trial) -> Running:
        """Add the trial to the running ones."""
        self.running[trial.id] = Running(self.name(trial), self._clock())
        return self.running[trial.id]

    def progressed(self, trial: Trial, progress: Progress) -> Running:
        """Record the progress that the trial's worker reported."""
        running = self.running.get(trial.id) or self.started(trial)
        running.progress = progress
        return running

    def finished(self, result: TrialResult) -> None:
        """Count the trial as done."""
        self.running.pop(result.trial.id, None)
        self._done.add(result.trial.id)
        self.total = max(self.total, len(self._done))
        if result.status == "completed":
            self._durations.append(result.duration_s)

    def elapsed(self, running: Running) -> float:
        """Seconds since the trial started."""
        return self._clock() - running.since

    def seconds_left(self) -> float | None:
        """Return the estimated seconds left, or None before any trial gives an estimate."""
        running = list(self.running.values())
        to_come = max(self.total - self.done - len(running), 0)
        current = [trial_seconds(self.elapsed(one), one.progress) for one in running]
        return seconds_left(
            self._durations, to_come, list(zip(map(self.elapsed, running), current, strict=True))
        )


def trial_names(trials: Iterable[Trial]) -> dict[str, str]:
    """A name for each trial id: its variant's label, and its seed where there are several."""
    trials = list(trials)
    variants = labels(trials)
    several = len({trial.seed for trial in trials}) > 1
    return {
        trial.id: variants[trial.variant_id] + (f" seed {trial.seed}" if several else "") for trial in trials
    }


def trial_seconds(elapsed: float, progress: Progress) -> float | None:
    """Estimate the seconds of a whole trial from the steps done so far; None before any step."""
    if progress.step <= 0 or progress.steps <= 0:
        return None
    return elapsed * max(progress.steps / progress.step, 1.0)


def seconds_left(
    durations: Sequence[float], to_come: int, running: Sequence[tuple[float, float | None]]
) -> float | None:
    """Estimate the time left from finished trials and from the running ones' steps.

    Args:
        durations: seconds that each completed trial took.
        to_come: trials that have not started.
        running: for each running trial, the seconds elapsed and its estimated whole.
    """
    known = [*durations, *(whole for _, whole in running if whole is not None)]
    if not known:
        return None
    typical = fmean(known)
    current = [max((typical if whole is None else whole) - elapsed, 0.0) for elapsed, whole in running]
    return (sum(current) + to_come * typical) / max(len(running), 1)


def describe_progress(progress: Progress) -> str:
    """`train, step 120/345, epoch 1, loss 0.512, 12.3k tokens/s`."""
    parts = [progress.phase.replace("_", " ")]
    if progress.steps:
        parts.append(f"step {progress.step:,}/{progress.steps:,}")
    if progress.epoch:
        parts.append(f"epoch {progress.epoch}")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.real_tokens_per_second is not None:
        parts.append(rate(progress.real_tokens_per_second, "tokens/s"))
    return ", ".join(parts)


def describe_result(result: TrialResult) -> str:
    """A finished trial's key numbers, or its status, phase and reason."""
    if result.status != "completed":
        reason = one_line(result.reason or "no reason given")
        return f"{result.status} in {result.phase.replace('_', ' ')}: {reason}"
    one = "one class" if result.trial.task.kind == "classification" else "one number"
    parts = [f"degenerate: {one} predicted"] if result.degenerate else []
    parts += [
        f"{metric_named(metric).label} {amount(metric, value)}"
        for metric in quality_headlines([result.trial.task])
        if (value := result.value(metric)) is not None
    ]
    speed = (
        "train_real_tokens_per_second" if result.trial.tokenization is None else "tokenize_tokens_per_second"
    )
    if (tokens := result.value(speed)) is not None:
        parts.append(rate(tokens, "tokens/s"))
    return ", ".join([*parts, duration(result.duration_s)])
