"""One trial from its job to its result: load, tokenise, train, evaluate, measure."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import datasets
import torch
from transformers import set_seed
from transformers.utils.logging import disable_progress_bar

from harness.assets.digest import weights_sha256
from harness.environment import Device, describe_environment, physical_cores
from harness.job import Announce, Job, TrialStoppedError
from harness.results.models import Checkpoint, Data, Epoch, Measurement, TrialResult, measured
from harness.training import trainer_engine
from harness.training.batching import Batch, padded_length, plan_epoch
from harness.training.checkpoints import LoadedModel, load_model, longest_input
from harness.training.counters import peak_memory, reset_peak_memory
from harness.training.data import Corpus, load_corpus
from harness.training.devices import describe_device, open_device
from harness.training.engine import Training
from harness.training.evaluation import METRIC_VERSION, Score, predict, predictions_of, score
from harness.training.flops import EncoderShape
from harness.training.measuring import StepMeter
from harness.training.padding import Collator
from harness.training.phases import PhaseClock
from harness.training.tokenization import Tokenized, load_tokenizer, tokenize
from harness.training.unpadding import unpad
from harness.trial import Engine, Trial

ENGINES: Final[dict[Engine, Callable[[Training], None]]] = {"trainer": trainer_engine.train}


def run_trial(job: Job, announce: Announce) -> TrialResult:
    """Run a trial in this process, which has touched no device yet.

    Raises:
        TrialStoppedError: with the status and the reason, for everything that can be told apart.
    """
    started, since = datetime.now(UTC), time.monotonic()
    datasets.disable_progress_bars()
    disable_progress_bar()  # type: ignore[no-untyped-call] # transformers leaves it so
    clock = PhaseClock(announce)
    threads = job.measure.threads or physical_cores()
    torch.set_num_threads(threads)
    device = open_device(job.trial.device, job.trial.precision)
    with clock.phase("load_data"):
        corpus = load_corpus(job.trial.task, job.data)
    with clock.phase("tokenize"):
        tokens = _tokenize(job, corpus)
    with clock.phase("load_model"):
        set_seed(job.trial.seed)
        loaded = _load(job, corpus, device)
    reset_peak_memory(device)
    fitting = _Fitting(job, device, tokens, loaded, clock, announce)
    with clock.phase("train"):
        fitting.run()
    with clock.phase("write"):
        described = describe_device(device)
        environment = describe_environment(described, threads)
        checkpoint = _describe_checkpoint(job, loaded)
        data = _describe_data(job, corpus, tokens)
        predictions = predictions_of(fitting.logits, fitting.evaluation)
    return TrialResult(
        trial=job.trial,
        status="completed",
        phase="write",
        degenerate=fitting.score.degenerate,
        epochs=tuple(fitting.history),
        measurements=(*fitting.measurements(described), *clock.measurements(), *peak_memory(device)),
        metric_version=METRIC_VERSION,
        predictions=predictions,
        checkpoint=checkpoint,
        data=data,
        environment=environment,
        notes=_notes(loaded, corpus, fitting.score),
        started=started,
        duration_s=time.monotonic() - since,
    )


def _tokenize(job: Job, corpus: Corpus) -> Tokenized:
    folder, padding = Path(job.checkpoint.path), job.trial.padding
    limit = longest_input(folder, load_tokenizer(folder).model_max_length)
    wanted = job.trial.task.max_length or limit
    if wanted > limit:
        raise TrialStoppedError(
            "failed",
            f"task.max_length {wanted} is more than the {limit} tokens that {job.checkpoint.name} takes",
            hint=f"set task.max_length to {limit} or less",
        )
    tokens = tokenize(corpus, folder, wanted, Path(job.cache_dir))
    if padding.length is not None and padding.length < tokens.longest:
        raise TrialStoppedError(
            "failed",
            f"static length {padding.length} is shorter than the longest example, {tokens.longest} tokens",
            hint=f"lengthen it, or set task.max_length: {padding.length} to cut every variant alike",
        )
    if padded_length(tokens.longest, padding, tokens.longest) > limit:
        raise TrialStoppedError(
            "failed",
            f"{padding} pads beyond the {limit} tokens that {job.checkpoint.name} takes",
            hint="lower padding.length or padding.multiple_of",
        )
    return tokens


def _load(job: Job, corpus: Corpus, device: torch.device) -> LoadedModel:
    trial = job.trial
    loaded = load_model(
        Path(job.checkpoint.path),
        labels=corpus.label_names,
        attention=trial.attention,
        token_type_ids=trial.token_type_ids,
    )
    loaded.model.to(device)  # type: ignore[arg-type] # transformers wraps nn.Module.to
    if trial.padding.strategy == "unpadded":
        unpad(loaded.model, trial.attention)
    return loaded


class _Fitting:
    """The training of one trial and the evaluations at the ends of its epochs."""

    def __init__(
        self,
        job: Job,
        device: torch.device,
        tokens: Tokenized,
        loaded: LoadedModel,
        clock: PhaseClock,
        announce: Announce,
    ) -> None:
        self._trial, self._tokens, self._model, self._clock = job.trial, tokens, loaded.model, clock
        collate = partial(
            Collator,
            padding=job.trial.padding,
            columns=loaded.columns,
            longest=tokens.longest,
            pad_token_id=tokens.pad_token_id,
        )
        self.evaluation = collate(tokens.evaluation)
        self.history: list[Epoch] = []
        epochs = _plan(job.trial, tokens)
        steps = _count_steps(job.trial, epochs)
        self._meter = StepMeter(device, job.measure.warmup_steps, announce, steps)
        self._training = Training(
            trial=job.trial,
            model=loaded.model,
            device=device,
            collator=collate(tokens.train),
            epochs=epochs,
            meter=self._meter,
            on_epoch_end=self._evaluate,
        )

    def run(self) -> None:
        """Train to the end."""
        ENGINES[self._trial.engine](self._training)

    def _evaluate(self, epoch: int, train_loss: float) -> None:
        with self._clock.phase("evaluate"):
            batch_size = self._trial.train.per_device_eval_batch_size
            self.logits = predict(self._model, self.evaluation, batch_size, self._trial.precision)
            self.score = score(self.logits, self._tokens.evaluation.labels)
        self.history.append(
            Epoch(
                epoch=epoch,
                train_loss=train_loss,
                eval_loss=self.score.loss,
                eval_accuracy=self.score.accuracy,
                eval_f1=self.score.f1,
                eval_mcc=self.score.mcc,
            )
        )

    def measurements(self, device: Device) -> list[Measurement]:
        """Quality of the last epoch, and what the meter saw."""
        last = self.history[-1]
        quality = ("eval_accuracy", "eval_f1", "eval_mcc", "eval_loss", "train_loss")
        shape = EncoderShape.of(self._model.config)
        lengths = self._tokens.train.lengths
        return [
            *(measured(name, getattr(last, name)) for name in quality),
            *self._meter.measurements(lengths, shape, device, self._trial.precision),
        ]


def _plan(trial: Trial, tokens: Tokenized) -> list[list[Batch]]:
    train, lengths = trial.train, tokens.train.lengths
    batches = -(-len(lengths) // train.per_device_train_batch_size)
    steps = -(-batches // train.gradient_accumulation_steps)
    epochs = -(-train.max_steps // steps) if train.max_steps > 0 else train.num_train_epochs
    return [
        plan_epoch(
            lengths,
            train.per_device_train_batch_size,
            trial.padding,
            longest=tokens.longest,
            seed=trial.seed,
            epoch=epoch,
        )
        for epoch in range(epochs)
    ]


def _count_steps(trial: Trial, epochs: list[list[Batch]]) -> int:
    if trial.train.max_steps > 0:
        return trial.train.max_steps
    return sum(-(-len(epoch) // trial.train.gradient_accumulation_steps) for epoch in epochs)


def _describe_checkpoint(job: Job, loaded: LoadedModel) -> Checkpoint:
    return Checkpoint(
        requested=job.checkpoint.requested,
        name=job.checkpoint.name,
        source=job.checkpoint.source,
        revision=job.checkpoint.revision,
        stand_in=job.checkpoint.stand_in,
        weights_sha256=weights_sha256(Path(job.checkpoint.path)),
        model_type=loaded.model.config.model_type,
        parameters=loaded.model.num_parameters(),
        dtype=str(loaded.model.dtype).removeprefix("torch."),
        columns=loaded.columns,
        columns_note=loaded.columns_note,
        newly_initialized=loaded.newly_initialized,
        unused=loaded.unused,
    )


def _describe_data(job: Job, corpus: Corpus, tokens: Tokenized) -> Data:
    return Data(
        requested=job.data.requested,
        name=job.data.name,
        source=job.data.source,
        revision=job.data.revision,
        synthetic=job.data.synthetic,
        content_sha256=corpus.content_sha256,
        labels=corpus.label_names,
        train_examples=len(corpus.train),
        eval_examples=len(corpus.evaluation),
        eval_majority_share=corpus.majority_share,
        max_length=tokens.max_length,
        longest=tokens.longest,
        mean_length=tokens.mean_length,
        truncated=tokens.truncated,
    )


def _notes(loaded: LoadedModel, corpus: Corpus, last: Score) -> tuple[str, ...]:
    notes = [loaded.columns_note] if loaded.columns_note else []
    if corpus.majority_share == 1.0:
        notes.append("the evaluation split has a single class: accuracy and F1 say nothing")
    if last.degenerate:
        notes.append("the model predicts a single class")
    return tuple(notes)
