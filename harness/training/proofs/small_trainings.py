"""Small trainings for proofs: a small model and generated rows, trained by the engine of the trial."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from accelerate.state import AcceleratorState
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from harness.model.assets import Data
from harness.model.job import Job, TrialStoppedError
from harness.model.results import TrialResult
from harness.model.tasks import Task
from harness.model.trial import Trial
from harness.training.checkpoints import LoadedModel
from harness.training.devices import use_products
from harness.training.loading import Corpus, Split
from harness.training.measuring.phases import PhaseClock
from harness.training.preparing import prepare_model
from harness.training.proofs.masks.dropout_sites import Dropped, watch_dropout
from harness.training.proofs.reference import Tensors
from harness.training.proofs.watching import Seen, parameters_of, used_rows, watch
from harness.training.tokenizing.tokens import Tokenized, TokenizedSplit
from harness.training.variants.compiling import is_compiled

VOCABULARY: Final = 160
LONGEST: Final = 24
"""Tokens of the longest row: fewer than a head's size, so that attention's masks follow from its results."""

SIZES: Final[dict[str, int]] = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 2,
    "intermediate_size": 96,
    "hidden_dim": 96,
    "pooler_hidden_size": 64,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 514,
}
"""Settings of a small model by their names in configs."""

# Unequal, so that one taken for another is seen; the first that a setting's name contains counts.
_RATES: Final[dict[str, float]] = {"attention": 0.3, "classif": 0.25, "embedding": 0.15, "dropout": 0.2}


def write_small(checkpoint: Path, folder: Path, *, dropout: bool) -> Path:
    """Write a checkpoint without a head into `folder`: two narrow layers, every parameter random.

    Biases and norms are random too: decay of a parameter that is zero would show nothing.

    Args:
        checkpoint: the folder whose `config.json` names the class and everything but sizes and rates.
        folder: where to write.
        dropout: with unequal rates at all sites, or without dropout.
    """
    config = AutoConfig.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    _shrink(config)
    for name, value in config.to_dict().items():
        if "dropout" in name and (value is None or isinstance(value, float | int)):
            rate = next(rate for part, rate in _RATES.items() if part in name)
            setattr(config, name, rate if dropout else 0.0)
    torch.manual_seed(0)
    # What a classifier is built around, as a pretrained checkpoint has it: no head, and no pooler if unused.
    model = cast("PreTrainedModel", _classifier(config).base_model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = parameter.ndim == 1 and not name.endswith("bias")
            parameter.normal_(1.0 if norm else 0.0, 0.1, generator=generator)
    model.save_pretrained(folder)
    return folder


def _classifier(config: PreTrainedConfig) -> PreTrainedModel:
    """A model of that config, in fp32.

    Raises:
        TrialStoppedError: `failed`, for a class that cannot be built so narrow.
    """
    try:
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call] # transformers leaves it so
    except (ValueError, TypeError, RuntimeError) as error:
        raise TrialStoppedError(
            "failed",
            f"no small {config.model_type} can be built to prove its training: {str(error).splitlines()[0]}",
        ) from error
    return model


def _shrink(config: PreTrainedConfig) -> None:
    embedding = getattr(config, "embedding_size", None)
    if embedding is not None:
        config.embedding_size = 64 if embedding == config.hidden_size else 48
    layers = config.num_hidden_layers
    for name, value in config.to_dict().items():
        # One entry a layer, such as the kind of its attention.
        if isinstance(value, list) and len(value) == layers:
            setattr(config, name, value[: SIZES["num_hidden_layers"]])
    for name, size in SIZES.items():
        if hasattr(config, name):
            setattr(config, name, size)
    for name, value in vars(config).copy().items():
        if name.endswith("_token_id") and isinstance(value, int) and value >= VOCABULARY:
            setattr(config, name, 0)


def small_rows(config: Any, train: int, evaluation: int, *, regression: bool = False) -> Tokenized:
    """Generated splits of that many rows of 6 to `LONGEST` tokens, all different, with labels 0 and 1.

    With `regression` labels are numbers from 0 to 5 instead. Half of the rows are longest, so that most
    batches have one shape; no token comes twice in a row.
    """
    random = np.random.default_rng(0)
    return Tokenized(
        train=_split(random, train, np.arange(train), regression=regression),
        evaluation=_split(random, evaluation, 500 + random.permutation(evaluation), regression=regression),
        max_length=LONGEST,
        pad_token_id=int(config.pad_token_id or 0),
        truncated=0,
        cached=True,
    )


def _split(
    random: np.random.Generator, count: int, ids: npt.NDArray[np.int64], *, regression: bool
) -> TokenizedSplit:
    lengths = np.where(random.random(count) < 0.5, LONGEST, random.integers(6, LONGEST, count))
    rows = [5 + random.permutation(VOCABULARY - 5)[:length] for length in lengths]
    types = [(np.arange(length) >= length // 2) for length in lengths]
    labels = random.permutation(np.arange(count) % 5 < 3).astype(np.int64)
    return TokenizedSplit(
        input_ids=np.concatenate(rows).astype(np.int32),
        token_type_ids=np.concatenate(types).astype(np.uint8),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        labels=random.uniform(0.0, 5.0, count).astype(np.float32) if regression else labels,
        example_ids=ids.astype(np.int64),
    )


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

    def keeping(self, folder: Path, every: int) -> Runner:
        """Return a runner whose trainings keep their state in `folder`, and continue from one found there."""
        measure = self.job.measure.model_copy(update={"checkpoint_every": every})
        return replace(self, job=self.job.model_copy(update={"folder": str(folder), "measure": measure}))

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
        found = self.found.model_copy(update={"trial": trial, "data": generated_data(tokens, trial)})
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


def generated_data(tokens: Tokenized, trial: Trial) -> Data:
    """Return the description of generated rows, as a result has it of its data."""
    return Data(
        requested="generated rows",
        name="generated rows",
        source="embedded",
        revision=None,
        synthetic=True,
        content_sha256="0" * 64,
        labels=names_of(trial.task),
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
