"""Fine-tuning as a trial does it: planned batches, an engine, an evaluation at the end of every epoch."""

from __future__ import annotations

from functools import partial

import torch

from harness.model.environment import Device
from harness.model.job import Job
from harness.model.measurements import Measurement, measured
from harness.model.quality import Epoch
from harness.model.trial import Trial
from harness.training import ranks
from harness.training.batching import Batch, plan_epoch
from harness.training.checkpoints import LoadedModel
from harness.training.engines.engine import Training
from harness.training.engines.registry import ENGINES
from harness.training.evaluation import predict, score
from harness.training.measuring.counters import PeakMemory
from harness.training.measuring.flops import EncoderShape
from harness.training.measuring.observing import TrainingWatch
from harness.training.measuring.phases import PhaseClock
from harness.training.measuring.probe import MachineProbe
from harness.training.measuring.steps import StepMeter
from harness.training.padding import Collator
from harness.training.tokenizing.tokens import Tokenized


class Fitting:
    """The training of one trial and the evaluations at the ends of its epochs."""

    def __init__(
        self,
        job: Job,
        device: torch.device,
        tokens: Tokenized,
        loaded: LoadedModel,
        clock: PhaseClock,
    ) -> None:
        self._trial, self._tokens, self._model, self._clock = job.trial, tokens, loaded.model, clock
        self._purpose = job.purpose
        self.leads = ranks.rank() == 0
        collate = partial(
            Collator,
            padding=job.trial.padding,
            columns=loaded.columns,
            longest=tokens.longest,
            pad_token_id=tokens.pad_token_id,
        )
        self.evaluation = collate(tokens.evaluation)
        self.history: list[Epoch] = []
        self.notes: list[str] = []
        self.memory = PeakMemory(device)
        self.probe = MachineProbe(device, aside=self.memory.paused)
        self._watch = TrainingWatch(loaded.model)
        epochs = _plan(job.trial, tokens)
        steps = _count_steps(job.trial, epochs)
        self._meter = StepMeter(device, job.measure.warmup_steps, clock.announce, steps)
        # With other trials running, a reading would measure them; a proof measures nothing.
        if job.concurrent == 1 and job.purpose == "train" and self.leads:
            self._meter.at_edge = self.probe.read
        self._training = Training(
            trial=job.trial,
            model=loaded.model,
            device=device,
            collator=collate(tokens.train),
            epochs=epochs,
            meter=self._meter,
            on_epoch_end=self._evaluate,
            compiling=partial(clock.phase, "compile"),
            note=self.notes.append,
        )

    def run(self) -> None:
        """Train to the end."""
        self._watch.begin()
        ENGINES[self._trial.engine].train(self._training)
        self.observed = self._watch.end()
        self._meter.count_energy_of_all()

    def _evaluate(self, epoch: int, train_loss: float) -> None:
        """Evaluate in rank 0, the others waiting; a proof watches every rank do the same."""
        if self.leads or self._purpose != "train":
            self._score(epoch, train_loss)
        self._watch.new_epoch()
        ranks.wait()

    def _score(self, epoch: int, train_loss: float) -> None:
        with self._clock.phase("evaluate"):
            batch_size = self._trial.train.per_device_eval_batch_size
            self.logits = predict(self._model, self.evaluation, batch_size, self._trial.precision)
            self.score = score(self.logits, self._tokens.evaluation.labels)
        self.history.append(Epoch(epoch=epoch, train_loss=train_loss, scores=self.score.scores))

    def measurements(self, device: Device) -> list[Measurement]:
        """Return the scores and the loss of the last epoch, and the measurements of the step meter."""
        shape = EncoderShape.of(self._model.config, self._trial.last_layer)
        lengths = self._tokens.train.lengths
        return [
            *(measured(metric, value) for metric, value in self.history[-1].values.items()),
            *self._meter.measurements(lengths, shape, device, self._trial.precision, self._trial.world_size),
        ]


def _plan(trial: Trial, tokens: Tokenized) -> list[list[Batch]]:
    train, lengths = trial.train, tokens.train.lengths
    batches = -(-len(lengths) // trial.batch_size)
    steps = -(-batches // train.gradient_accumulation_steps)
    epochs = -(-train.max_steps // steps) if train.max_steps > 0 else train.num_train_epochs
    return [
        plan_epoch(
            lengths,
            trial.batch_size,
            trial.padding,
            longest=tokens.longest,
            seed=trial.seed,
            epoch=epoch,
            ranks=trial.world_size,
        )
        for epoch in range(epochs)
    ]


def _count_steps(trial: Trial, epochs: list[list[Batch]]) -> int:
    if trial.train.max_steps > 0:
        return trial.train.max_steps
    return sum(-(-len(epoch) // trial.train.gradient_accumulation_steps) for epoch in epochs)
