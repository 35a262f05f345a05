"""The proofs of a run: which functions and trainings are to be proved, and a line for each of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from harness.analysis.naming import attention_of, describe
from harness.analysis.parity import function_of, limits, verdict_of
from harness.analysis.training_verdicts import failed_checks, training_of, training_verdict
from harness.model.environment import Device
from harness.model.job import Job, Observer
from harness.model.results import TrialResult
from harness.model.trial import Trial
from harness.running.options import RunOptions
from harness.running.proof_store import ProofStore
from harness.running.scheduler import Policy, RunContext, run_jobs
from harness.words import count, one_line

# Twice the peaks of the process of a proof of training, whose models have two narrow layers; on a GPU most of
# them is CUDA itself.
_BYTES_OF_TRAINING: Final = 2**30
_BYTES_WITH_CUDA: Final = 2**32


@dataclass(frozen=True, slots=True)
class Proofs:
    """The proofs of a run: a result for each distinct function, and one for each distinct way of training."""

    functions: tuple[TrialResult, ...] = ()
    trainings: tuple[TrialResult, ...] = ()


def proof_jobs(jobs: Iterable[Job]) -> dict[str, Job]:
    """Return a job for each distinct function among these, by the id of the trial that represents it.

    A trial that only tokenises computes none, and checks its own ids.
    """
    found: dict[str, Job] = {}
    for job in jobs:
        if job.trial.tokenization is not None:
            continue
        trial = function_of(job.trial)
        found.setdefault(trial.id, _proving(job, trial, "prove"))
    return found


def training_jobs(jobs: Iterable[Job]) -> dict[str, Job]:
    """Return a job for each distinct way of training among these, by the id of the representing trial.

    Checkpoints of one family share a proof; it takes the first one's config.
    """
    family = cache(_family)
    found: dict[str, Job] = {}
    for job in jobs:
        if job.trial.tokenization is None:
            trial = training_of(job.trial, family(job.checkpoint.path, job.checkpoint.name))
            found.setdefault(trial.id, _proving(job, trial, "prove_training"))
    return found


def _proving(job: Job, trial: Trial, purpose: Literal["prove", "prove_training"]) -> Job:
    """Return the job of a proof, which saves no model: the same proof serves runs that do."""
    return job.model_copy(update={"trial": trial, "purpose": purpose, "save_to": None})


def _family(folder: str, name: str) -> str:
    """The model type in a checkpoint's config, or its name where the config cannot be read."""
    try:
        return str(json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        return name


def trainings_at_once(
    jobs: Iterable[Job], cores: int, free_bytes: float, gpus: Mapping[str, Device] = MappingProxyType({})
) -> int:
    """Return how many proofs of training run at once on a device: each takes one thread, and no time counts.

    One of several ranks has a process for each of them. On a device of unknown memory it is one.

    Args:
        jobs: of the proofs.
        cores: of this machine.
        free_bytes: of its memory.
        gpus: of this machine.
    """
    trials = [job.trial for job in jobs]
    devices = {device for trial in trials for device in trial.devices}
    processes = max((trial.world_size // len(trial.devices) for trial in trials), default=1)
    share = max(1, len(devices)) * processes
    limits = [cores // share]
    for device in devices:
        if device == "cpu":
            limits.append(int(free_bytes / share / _BYTES_OF_TRAINING))
        else:
            memory = (gpus[device].memory_bytes if device in gpus else None) or 0
            limits.append(int(min(memory / 2, free_bytes / share) / _BYTES_WITH_CUDA))
    return max(1, min(limits))


class Proving:
    """The proofs of a run: those that are found, and those that are to be made, some before others.

    Args:
        jobs: of all trials.
        found: proofs of this run and of earlier ones, by id.
        context: of the proofs; its observer gets each proof as a note.
        policy: of the proofs of functions.
        at_once: how many proofs of training run at once.
        store: gets the proofs that pass, for later runs.
    """

    def __init__(
        self,
        jobs: Collection[Job],
        found: Mapping[str, TrialResult],
        context: RunContext,
        policy: Policy,
        at_once: int,
        store: ProofStore | None = None,
    ) -> None:
        self._functions, self._trainings = proof_jobs(jobs), training_jobs(jobs)
        self._found = dict(found)
        self._watch = ProofWatch(context.observer)
        self._context = replace(context, observer=self._watch)
        self._policies = (policy, replace(policy, jobs=at_once))
        self._store = store
        self._made: list[tuple[Job, TrialResult]] = []
        functions, trainings = map(self._left, (self._functions, self._trainings))
        self._watch.announce(len(functions), len(trainings), found.values())

    def _left(self, jobs: Mapping[str, Job]) -> dict[str, Job]:
        return {id_: job for id_, job in jobs.items() if id_ not in self._found}

    def prove(self, jobs: Collection[Job]) -> Proofs:
        """Make the proofs of these trials that are not found, and return all proofs so far."""
        of_these = proof_jobs(jobs).keys() | training_jobs(jobs).keys()
        for kind, policy in zip((self._functions, self._trainings), self._policies, strict=True):
            left = {id_: job for id_, job in self._left(kind).items() if id_ in of_these}
            made = run_jobs(list(left.values()), self._context, policy)
            self._found |= made
            self._made += [(left[id_], proof) for id_, proof in made.items()]
        if self._store is not None and self._made and not self.left:
            if problem := self._store.keep(self._made):
                self._watch.note(problem)
            self._made.clear()
        return Proofs(
            *(
                tuple(self._found[id_] for id_ in kind if id_ in self._found)
                for kind in (self._functions, self._trainings)
            )
        )

    @property
    def left(self) -> bool:
        """Whether a proof is still to be made."""
        return bool(self._left(self._functions | self._trainings))


class ProofWatch(Observer):
    """Gives an observer each proof as a note: the trials that it counts are those that train."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._running: dict[str, str] = {}
        self._done = 0
        self._total = 0

    def announce(self, functions: int, trainings: int, found: Iterable[TrialResult]) -> None:
        """Tell how many functions and trainings are to be proved, and which proofs earlier runs made."""
        if earlier := [proof.started for proof in found if proof.reused]:
            self._observer.note(
                f"{count(len(earlier), 'proof')} of earlier runs with the same code, libraries, inputs and "
                f"machine, from {min(earlier):%Y-%m-%d} on; --rerun all proves again"
            )
        self._total = functions + trainings
        if functions:
            self._observer.note(
                f"proving that {functions} variants compute the plain function; --no-parity leaves it out"
            )
        if trainings:
            self._observer.note(
                f"proving that {trainings} ways of training follow the independent reference; "
                "--no-parity leaves it out"
            )

    def note(self, text: str) -> None:
        """Pass the note on."""
        self._observer.note(text)

    def started(self, trial: Trial) -> None:
        """Tell which proofs run."""
        self._running[trial.id] = describe(trial)
        self._tell()

    def finished(self, result: TrialResult) -> None:
        """Note the finding of a proof."""
        self._running.pop(result.trial.id, None)
        self._done += 1
        self._observer.note(describe_proof(result))
        self._tell()

    def _tell(self) -> None:
        self._observer.proving(tuple(self._running.values()), self._done, self._total)


def describe_proof(proof: TrialResult) -> str:
    """Return `parity of minilm unpadded cpu bf16 trainer sdpa: within: largest logit difference 4e-04`."""
    name = describe(proof.trial, attention=attention_of(proof))
    if proof.training is not None:
        found = [f"{check.name}: {check.found}" for check in failed_checks(proof)]
        passed = f"{len(proof.training.checks)} checks against the independent reference passed"
        return f"training of {name}: {training_verdict(proof)}: {'; '.join(found) or passed}"
    if proof.parity is None:
        reason = one_line(proof.reason or "")
        return f"proof of {name}: unproven: {proof.status} in {proof.phase}: {reason}"
    return f"parity of {name}: {verdict_of(proof)}: {limits(proof.parity, proof.trial.precision)}"


def leading(jobs: Sequence[Job], proving: Proving, options: RunOptions, *, alone: bool) -> Sequence[Job]:
    """Prove the first job's trial and return that job, so that its result comes before the other proofs.

    Return nothing where this would leave other devices idle, or where the failures of all trials count
    together.

    Args:
        jobs: those that are still to run, in their order.
        proving: what makes the proofs that are left.
        options: of the run.
        alone: whether trials train one at a time on a device.
    """
    one_at_a_time = alone and options.executor == "local"
    counts_failures = options.fail_fast or options.stop_after_same_error > 0
    devices = {device for job in jobs for device in job.trial.devices}
    if not (proving.left and one_at_a_time and len(devices) == 1) or counts_failures:
        return ()
    proving.prove(jobs[:1])
    return jobs[:1]
