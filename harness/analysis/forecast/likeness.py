"""Find earlier results like the trials of a plan: the seconds, memory and disk of each trial and proof.

Every estimate is a range. It comes from results of the same variant where there are any, whatever their seed;
results that differ in a setting, in threads or in torch widen it, and each difference is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, pairwise
from math import prod
from statistics import median
from typing import Final

from harness.analysis.checks.schedule import optimizer_steps
from harness.analysis.naming import axes
from harness.analysis.parity import function_of
from harness.analysis.training_verdicts import training_of
from harness.model.axis import axes_of
from harness.model.environment import Device, Environment
from harness.model.results import TrialResult
from harness.model.tasks import Task
from harness.model.trial import Trial

# How far repeated trials lie apart on a machine that other programs use, too.
_OF_ONE: Final = 1.25
_OF_SEVERAL: Final = 1.1
# How far a difference can move the time of a trial, in both directions; 1.5 for all others.
_FACTORS: Final = {
    "padding": 3.0,
    "precision": 4.0,
    "compile": 3.0,
    "attention": 2.0,
    "train.gradient_checkpointing": 2.0,
    "times": 2.0,
    "torch": 1.25,
    "steps": 1.1,
    # The range of the seconds has it already.
    "jobs": 1.0,
}
_OF_TIME: Final = ("times", "torch", "steps", "jobs", "threads", "load")
_FACTOR: Final = 1.5
# Load average for each core, of which the trial itself is one.
_BUSY: Final = 1.5
# A trial that differs in one of these is not comparable.
_SAME: Final = ("device", "world_size", "adapter", "tokenization", "tokenizer")
_SCALED: Final = ("train.num_train_epochs", "train.max_steps")
_SLOWER: Final = ("train.gradient_checkpointing", "train.optim", "train.gradient_accumulation_steps")


@dataclass(frozen=True, slots=True)
class Range:
    """A quantity between two bounds."""

    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)

    def widened(self, factor: float) -> Range:
        """Return the range with this factor more room on both sides."""
        return Range(self.low / factor, self.high * factor)

    def shared(self, number: int) -> Range:
        """Return the share of each of so many at once."""
        return Range(self.low / number, self.high / number)


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """An earlier run: its trials and proofs, when it began, and the bytes on disk of each trial."""

    name: str
    begun: datetime | None
    results: Sequence[TrialResult]
    proofs: Sequence[TrialResult]
    bytes_per_trial: float

    @property
    def made(self) -> Iterator[TrialResult]:
        """The results of the run's own workers."""
        return chain(self.results, (proof for proof in self.proofs if not proof.reused))


@dataclass(frozen=True, slots=True)
class Setting:
    """Machine, assets and concurrency of planned trials.

    `threads` are those of a trial, `gpus` the CUDA devices by their name in a suite. `stand_ins` has, by
    checkpoint and revision, whether a stand-in will be used, None where that is open; `synthetic` is the same
    of the data of each task. `jobs` trials run at once on a device, and `trainings` proofs of training for
    each of them. `separate` times windows first.
    """

    environment: Environment
    threads: int
    gpus: Mapping[str, Device]
    stand_ins: Mapping[tuple[str, str | None], bool | None]
    synthetic: Mapping[Task, bool | None]
    jobs: int = 1
    trainings: int = 1
    separate: bool = False


@dataclass(frozen=True, slots=True)
class TrialEstimate:
    """Time, memory and disk of one trial; `unlike` names how the earlier results differ from it."""

    seconds: Range
    host_memory: Range | None
    device_memory: Range | None
    disk: Range
    results: int
    unlike: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Match:
    """A result of an earlier run, and how it differs from the planned trial: texts by name."""

    run: EarlierRun
    result: TrialResult
    unlike: Mapping[str, str]

    @property
    def factor(self) -> float:
        """The factor by which the differences can change the time."""
        return prod(_FACTORS.get(name, _FACTOR) for name in self.unlike)

    @property
    def factor_of_size(self) -> float:
        """The factor by which they can change memory and disk."""
        return prod(_FACTORS.get(name, _FACTOR) for name in self.unlike if name not in _OF_TIME)


class EarlierResults:
    """The results of earlier runs on this machine."""

    def __init__(self, runs: Sequence[EarlierRun], setting: Setting) -> None:
        self._setting = setting
        self._runs = runs
        self._variants: dict[str, TrialEstimate | None] = {}
        self._used: dict[str, EarlierRun] = {}
        self._here = [
            (run, result, axes(result.trial)) for run in runs for result in run.results if self._fits(result)
        ]

    @property
    def used(self) -> tuple[str, ...]:
        """The names of the runs that estimates came from so far."""
        return tuple(self._used)

    def of(self, trial: Trial) -> TrialEstimate | None:
        """Return the estimate of a trial from the results that are most like it; None if there is none."""
        if trial.variant_id not in self._variants:
            self._variants[trial.variant_id] = self._estimate(trial)
        return self._variants[trial.variant_id]

    def _estimate(self, trial: Trial) -> TrialEstimate | None:
        wanted = axes(trial)
        matches = [
            _Match(run, result, unlike)
            for run, result, values in self._here
            if (unlike := self._unlike(trial, wanted, result, values)) is not None
        ]
        if not matches:
            return None
        least = min(match.factor for match in matches)
        chosen = [match for match in matches if match.factor == least]
        self._used |= {match.run.name: match.run for match in chosen}
        repeated = _OF_ONE if len(chosen) == 1 else _OF_SEVERAL
        room = repeated * max(match.factor_of_size for match in chosen)
        seconds = [self._seconds(trial, match.result) for match in chosen]
        sizes = [match.run.bytes_per_trial for match in chosen]
        return TrialEstimate(
            Range(min(low for low, _ in seconds), max(high for _, high in seconds)).widened(repeated * least),
            _range((match.result.value("peak_memory_host_bytes") for match in chosen), room),
            _range((match.result.value("peak_memory_reserved_bytes") for match in chosen), room),
            Range(min(sizes), max(sizes)).widened(room),
            len(chosen),
            tuple(dict.fromkeys(text for match in chosen for text in match.unlike.values())),
        )

    def _fits(self, result: TrialResult) -> bool:
        """Return whether a result has times of a whole trial on this machine."""
        where, trial = result.environment, result.trial
        if result.status != "completed" or where is None or where.cpu != self._setting.environment.cpu:
            return False
        if "train_seconds" in result.reasons and result.apart is None:
            # It was interrupted and continued: its time is that of its last part.
            return False
        gpu = self._setting.gpus.get(trial.device)
        return gpu is None or where.device is None or where.device.name == gpu.name

    def _unlike(
        self, trial: Trial, wanted: Mapping[str, str], result: TrialResult, values: Mapping[str, str]
    ) -> dict[str, str] | None:
        """Return what differs between a planned trial and a result, by name; None if it tells nothing."""
        then, key = result.trial, (trial.checkpoint, trial.revision)
        if key != (then.checkpoint, then.revision) or result.checkpoint is None or result.data is None:
            return None
        if self._setting.stand_ins.get(key) not in (None, result.checkpoint.stand_in):
            return None
        if self._setting.synthetic.get(trial.task) not in (None, result.data.synthetic):
            return None
        same_task = then.task.model_copy(update={"max_length": trial.task.max_length}) == trial.task
        if not same_task or any(wanted[name] != values[name] for name in _SAME):
            return None
        return _settings(trial, wanted, values) | self._conditions(result)

    def _conditions(self, result: TrialResult) -> dict[str, str]:
        """Return what differs in how a result was measured."""
        setting, where = self._setting, result.environment
        assert where is not None
        found: dict[str, str] = {}
        torch, now = where.packages.get("torch"), setting.environment.packages.get("torch")
        if torch != now:
            found["torch"] = f"torch {torch}, now {now}"
        if (result.apart is not None) != (setting.separate and result.trial.tokenization is None):
            found["times"] = "measure.separate differs"
        if (where.load_average or 0) > _BUSY * where.cpu.logical_cores:
            found["load"] = "other programs used the processor"
        at_once = _at_once_of(result)
        if at_once != setting.jobs:
            found["jobs"] = f"{at_once} at once, now {setting.jobs}"
        elif where.threads != setting.threads and result.apart is None:
            found["threads"] = f"{where.threads} threads, now {setting.threads}"
        return found

    def _seconds(self, trial: Trial, result: TrialResult) -> tuple[float, float]:
        """Return the seconds of a trial by a result: those of its steps in proportion to their number."""
        assert result.data is not None
        seconds, examples = result.duration_s, result.data.train_examples
        work = _examples(trial, examples) / _examples(result.trial, examples)
        train, evaluate = result.value("train_seconds"), result.value("evaluate_seconds")
        if work != 1:
            steps = seconds if train is None else min(seconds, train + (evaluate or 0))
            seconds += steps * (work - 1)
        return self._beside(seconds, _at_once_of(result))

    def _beside(self, seconds: float, at_once: int) -> tuple[float, float]:
        """Return bounds of the seconds beside the planned number of others, from those of a job `at_once`."""
        if at_once == self._setting.jobs:
            return seconds, seconds
        # Alone it takes a share at least; beside others at most as long as if they ran one by one.
        return seconds / at_once, seconds * self._setting.jobs

    def proofs(
        self, trials: Sequence[Trial], proved: Collection[str]
    ) -> dict[str, tuple[Trial, Range]] | None:
        """Return each proof that is needed, by its id, and its seconds; None if no earlier one was timed."""
        families = {
            (each.trial.checkpoint, each.trial.revision): each.checkpoint.model_type
            for _, each, _ in self._here
            if each.checkpoint is not None
        }
        functions: dict[str, Trial] = {}
        trainings: dict[str, Trial] = {}
        for trial in trials:
            if trial.tokenization is None:
                function = function_of(trial)
                training = training_of(trial, families[trial.checkpoint, trial.revision])
                functions[function.id], trainings[training.id] = function, training
        wanted = functions | trainings
        timed: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for run in self._runs:
            for proof in filter(self._fits, run.proofs):
                timed[proof.trial.id].append(self._beside(proof.duration_s, proof.concurrent))
        every = [bounds for each in timed.values() for bounds in each]
        left = {id_: trial for id_, trial in wanted.items() if id_ not in proved}
        if left and not every:
            return None
        return {
            id_: (
                trial,
                _proof_range(timed.get(id_), every).shared(
                    self._setting.trainings if id_ in trainings else 1
                ),
            )
            for id_, trial in left.items()
        }

    @property
    def startup(self) -> Range:
        """The seconds from the beginning of a run to its first job, mostly imports in the fork server."""
        first = [
            (jobs[0].started - run.begun).total_seconds()
            for run in self._used.values()
            if run.begun is not None and (jobs := _in_order(run.made))
        ]
        found = [seconds for seconds in first if seconds >= 0]
        return Range(min(found, default=0), max(found, default=0))

    @property
    def gap(self) -> float:
        """The seconds between two trials of a run: the median, which no interruption of a run moves."""
        gaps = []
        for run in self._used.values():
            for before, after in pairwise(_in_order(run.results)):
                gaps.append((after.started - before.started).total_seconds() - before.duration_s)
        return max(0.0, median(gaps)) if gaps else 0.0


def _in_order(results: Iterable[TrialResult]) -> list[TrialResult]:
    """Return those that completed by the time when they started."""
    completed = [each for each in results if each.status == "completed"]
    return sorted(completed, key=lambda each: each.started)


def _settings(trial: Trial, wanted: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Return the settings in which a result differs from a planned trial and that can change its time."""
    declared = axes_of(type(trial))
    found = {}
    for name, value in wanted.items():
        before = values.get(name)
        axis = declared.get(name)
        quick = axis is not None and name.startswith("train.") and axis.changes == "training"
        if value == before or (quick and name not in (*_SLOWER, *_SCALED)):
            continue
        found["steps" if name in _SCALED else name] = f"{name} {before}, now {value}"
    return found


def _examples(trial: Trial, examples: int) -> int:
    """Return how many examples a trial trains on, all epochs together."""
    if trial.train.max_steps > 0:
        return optimizer_steps(trial, examples) * trial.batch_size * trial.train.gradient_accumulation_steps
    return examples * trial.train.num_train_epochs


def _at_once_of(result: TrialResult) -> int:
    return result.concurrent if result.apart is None else result.apart.jobs


def _range(values: Iterable[float | None], factor: float) -> Range | None:
    found = [value for value in values if value is not None]
    return Range(min(found), max(found)).widened(factor) if found else None


def _proof_range(own: Sequence[tuple[float, float]] | None, every: Sequence[tuple[float, float]]) -> Range:
    """Return the seconds of a proof from bounds of earlier ones: its own, else those of any proof."""
    found = own or every
    bounds = Range(min(low for low, _ in found), max(high for _, high in found))
    if own:
        return bounds.widened(_OF_ONE if len(own) == 1 else _OF_SEVERAL)
    return bounds.widened(_FACTOR)
