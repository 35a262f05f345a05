"""The proofs of a run: which functions are to be proved, and what is said of each while they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.analysis.naming import attention_of
from harness.analysis.parity import function_of, limits, verdict_of
from harness.job import Job, Observer, Progress
from harness.output.safe_text import one_line
from harness.results.models import TrialResult
from harness.trial import Trial


def proof_jobs(jobs: Iterable[Job]) -> dict[str, Job]:
    """One job for each distinct function among these, by the id of the trial that stands for it.

    A trial that only tokenises computes none, and checks its own ids.
    """
    found: dict[str, Job] = {}
    for job in jobs:
        if job.trial.tokenization is not None:
            continue
        trial = function_of(job.trial)
        found.setdefault(trial.id, job.model_copy(update={"trial": trial, "purpose": "prove"}))
    return found


@dataclass(frozen=True, slots=True)
class ProofWatch:
    """Tells an observer of each proof as a note: the trials it counts are those that train."""

    observer: Observer

    def planned(self, trials: Sequence[Trial], _reused: Sequence[TrialResult]) -> None:
        """Say how many functions are to be proved."""
        if trials:
            self.observer.note(
                f"proving that {len(trials)} variants compute the plain function; --no-parity leaves it out"
            )

    def note(self, text: str) -> None:
        """Pass it on."""
        self.observer.note(text)

    def started(self, trial: Trial) -> None:
        """Nothing to say yet."""

    def progressed(self, trial: Trial, progress: Progress) -> None:
        """Nothing to say yet."""

    def finished(self, result: TrialResult) -> None:
        """Say what the proof found."""
        self.observer.note(describe_proof(result))


def describe_proof(proof: TrialResult) -> str:
    """`parity of minilm unpadded bf16 sdpa trainer on cpu: within: largest logit difference 4e-04 (...)`."""
    trial, ran = proof.trial, attention_of(proof)
    attention = "attention=auto" if ran == "auto" else ran
    kept = "" if trial.token_type_ids == "auto" else ", token types dropped"
    kept += "" if trial.last_layer == "all" else f", last layer {trial.last_layer} only"
    kept += ", CUDA graphs" if trial.cuda_graphs else ""
    name = (
        f"parity of {trial.checkpoint} {trial.padding} {trial.precision} {attention} {trial.engine} "
        f"on {trial.device}{kept}"
    )
    if proof.parity is None:
        return f"{name}: unproven: {proof.status} in {proof.phase}: {one_line(proof.reason or '')}"
    return f"{name}: {verdict_of(proof)}: {limits(proof.parity, trial.precision)}"
