"""The trainings of a proof: each by the trial's own engine, from loading to its result, and watched."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import torch
from accelerate.state import AcceleratorState

from harness.model.assets import Data
from harness.model.job import Job, TrialStoppedError
from harness.model.results import TrialResult
from harness.model.tasks import Task
from harness.model.trial import Trial
from harness.training.checkpoints import LoadedModel
from harness.training.data import Corpus, Split
from harness.training.devices import use_products
from harness.training.measuring.phases import PhaseClock
from harness.training.preparing import prepare_model
from harness.training.proofs.dropout_sites import Dropped, watch_dropout
from harness.training.proofs.reference import Tensors
from harness.training.proofs.watching import Seen, parameters_of, used_rows, watch
from harness.training.tokenizing.tokens import Tokenized
from harness.training.variants.compiling import is_compiled

CLASSES: Final = ("no", "yes")
WARMUP_STEPS: Final = 2


class Fit(Protocol):
    """What trains a trial and completes its result."""

    def __call__(
        self,
        job: Job,
        device: torch.device,
        tokens: Tokenized,
        loaded: LoadedModel,
        clock: PhaseClock,
        found: TrialResult,
        /,
    ) -> TrialResult:
        """Train and evaluate the loaded model."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training by the engine: its parameters before and after, and its observed passes and steps."""

    start: Tensors
    end: Tensors
    used: Tensors
    initialized: tuple[str, ...]
    seen: Seen
    dropped: Dropped
    result: TrialResult
    seconds: float


def names_of(task: Task) -> tuple[str, ...]:
    """Return the names of the outputs of a proof's model."""
    return CLASSES if task.kind == "classification" else ("target",)


class BrokenTrainingError(Exception):
    """A training of the proof that ended short of its end, or that its own observation refutes."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Trains as the job's trial does, with `fit`; results are made from `found`, which has an environment."""

    job: Job
    device: torch.device
    found: TrialResult
    fit: Fit

    def load(self, folder: Path, trial: Trial, tokens: Tokenized) -> tuple[Job, LoadedModel]:
        """Return the job of a training from the checkpoint in `folder`, and its prepared model."""
        measure = self.job.measure.model_copy(update={"warmup_steps": WARMUP_STEPS, "roofline": False})
        # The digests are those of the checkpoint that the small one replaces.
        checkpoint = self.job.checkpoint.model_copy(update={"path": str(folder), "digests": None})
        job = self.job.model_copy(update={"trial": trial, "measure": measure, "checkpoint": checkpoint})
        _forget_precision()
        use_products(trial.precision)
        empty = Split([], [])
        return job, prepare_model(
            job, Corpus(empty, empty, names_of(trial.task), "0" * 64), tokens, self.device
        )

    def train(
        self, folder: Path, trial: Trial, tokens: Tokenized, sites: dict[str, float] | None = None
    ) -> Run:
        """Train by the engine, watched; with `sites` every mask of dropout too."""
        job, loaded = self.load(folder, trial, tokens)
        start, used = parameters_of(loaded.model), used_rows(loaded.model)
        found = self.found.model_copy(update={"trial": trial, "data": _data(tokens, names_of(trial.task))})
        clock = PhaseClock(lambda _progress: None)
        with _watch_dropout(loaded, sites, trial) as dropped, watch(loaded.model) as seen:
            since = time.perf_counter()
            # Libraries leave many objects: an engine that collects garbage would visit all of them each time.
            gc.freeze()
            try:
                result = self.fit(job, self.device, tokens, loaded, clock, found)
            except TrialStoppedError as error:
                raise BrokenTrainingError(error.one_line) from error
            except (
                ArithmeticError,
                AttributeError,
                LookupError,
                RuntimeError,
                TypeError,
                ValueError,
            ) as error:
                # A training this small has no reason to fail but its engine.
                raise BrokenTrainingError(f"{type(error).__name__}: {error}".partition("\n")[0]) from error
            finally:
                gc.unfreeze()
            seconds = time.perf_counter() - since
        end = parameters_of(loaded.model)
        return Run(start, end, used, loaded.newly_initialized, seen, dropped, result, seconds)


@contextmanager
def _watch_dropout(loaded: LoadedModel, sites: dict[str, float] | None, trial: Trial) -> Iterator[Dropped]:
    if sites is None:
        yield Dropped()
        return
    flat = trial.padding.strategy == "unpadded"
    with watch_dropout(loaded.model, sites, flat=flat, compiled=is_compiled(trial)) as dropped:
        yield dropped


def _data(tokens: Tokenized, names: tuple[str, ...]) -> Data:
    """The generated rows, as the data of a result."""
    return Data(
        requested="generated rows",
        name="generated rows",
        source="embedded",
        revision=None,
        synthetic=True,
        content_sha256="0" * 64,
        labels=names,
        train_examples=len(tokens.train),
        eval_examples=len(tokens.evaluation),
        eval_majority_share=0.6,
        max_length=tokens.max_length,
        longest=tokens.longest,
        mean_length=tokens.mean_length,
        truncated=0,
    )


def _forget_precision() -> None:
    """Let the next Trainer choose its precision: accelerate keeps one a process."""
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001 - accelerate has no other way
