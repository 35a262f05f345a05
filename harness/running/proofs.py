"""The proofs of a run: which functions and trainings are to be proved, and a line for each of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.analysis.naming import attention_of, describe
from harness.analysis.parity import function_of, limits, verdict_of
from harness.analysis.training import failed_checks, training_of, training_verdict
from harness.model.job import Job, Observer
from harness.model.results import TrialResult
from harness.model.trial import Trial
from harness.words import one_line


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
        found.setdefault(trial.id, job.model_copy(update={"trial": trial, "purpose": "prove"}))
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
            found.setdefault(trial.id, job.model_copy(update={"trial": trial, "purpose": "prove_training"}))
    return found


def _family(folder: str, name: str) -> str:
    """The model type in a checkpoint's config, or its name where the config cannot be read."""
    try:
        return str(json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        return name


class ProofWatch(Observer):
    """Gives an observer each proof as a note: the trials that it counts are those that train."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._running: dict[str, str] = {}
        self._done = 0
        self._total = 0

    def announce(self, functions: int, trainings: int) -> None:
        """Tell how many functions and trainings are to be proved."""
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
