"""Fine-tuning as a trial does it: planned batches, an engine, an evaluation at the end of every epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Final

import torch

from harness.model.arguments import Train
from harness.model.environment import Device
from harness.model.job import Job, TrialStoppedError
from harness.model.measurements import MOST_LOSSES, Measurement, measured, unmeasured
from harness.model.metrics import METRICS, metric_named
from harness.model.quality import Epoch
from harness.model.seeds import number_of
from harness.model.tasks import scores_of
from harness.model.trial import Trial
from harness.training import ranks
from harness.training.batching import Batch, plan_epoch, step_window
from harness.training.checkpoints import LoadedModel
from harness.training.engines.engine import Resuming, Training
from harness.training.engines.known_engines import ENGINES
from harness.training.evaluation import predict, score_splits
from harness.training.measuring.compilations import CompileWatch
from harness.training.measuring.counters import PeakMemory
from harness.training.measuring.flops import UNKNOWN_SHAPE, EncoderShape
from harness.training.measuring.observing import TrainingWatch
from harness.training.measuring.phases import PhaseClock
from harness.training.measuring.probe import MachineProbe
from harness.training.measuring.steps import StepMeter
from harness.training.padding import Collator
from harness.training.proofs.own_data import check_logits, check_plan, check_saved, check_window
from harness.training.proofs.own_steps import StepSamples
from harness.training.proofs.saved_model import check_saved_files
from harness.training.resuming import State, StateFile
from harness.training.tokenizing.tokens import Tokenized
from harness.training.variants.compiling import is_compiled

# Sums and peaks over a whole training, outside of its step meter.
_OF_WHOLE: Final = frozenset(
    ("evaluate_seconds", *(name for name in METRICS if name.startswith("peak_memory_")))
)

_ONE_ORDER: Final = (
    "batch_rebalance trains in one order for all seeds: Trainer passes its sampler no seed; "
    "seeds differ in the head and in dropout"
)


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
        self._checkpoint = Path(job.checkpoint.path)
        self._purpose, self._timed_apart = job.purpose, job.timed is not None
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
        if job.trial.padding.strategy == "batch_rebalance":
            self.notes.append(_ONE_ORDER)
        self.memory = PeakMemory(device)
        self.probe = MachineProbe(device, aside=self.memory.paused)
        compiled = is_compiled(job.trial)
        # Hooks inside of a compiled graph become a part of it.
        self._watch = TrainingWatch(loaded.model, counts_dropout=not compiled)
        self._samples = StepSamples(job.trial, len(tokens.train), loaded.model)
        trial, epochs, warmup_steps = job.trial, _plan(job.trial, tokens), job.measure.warmup_steps
        _check_warmup(trial.train, _count_steps(trial, epochs))
        if job.purpose in ("train", "time"):
            check_plan(trial, tokens.train.lengths, tokens.longest, epochs)
        if job.purpose == "time":
            whole = _steps_of(trial, epochs)
            trial, epochs, warmup_steps = _window(trial, epochs, warmup_steps)
            check_window(whole, _steps_of(trial, epochs)[warmup_steps:])
        self._meter = StepMeter(device, warmup_steps, clock.announce, _count_steps(trial, epochs))
        compiling = partial(clock.phase, "compile")
        self._compilations = CompileWatch(compiling, lambda: self._meter.timing) if compiled else None
        # With other trials running, a reading would measure them; a proof measures nothing.
        if job.concurrent == 1 and job.timed is None and job.purpose in ("train", "time") and self.leads:
            self._meter.at_edge = self.probe.read
        self._training = Training(
            trial=trial,
            model=loaded.model,
            device=device,
            collator=collate(tokens.train),
            epochs=epochs,
            meter=self._meter,
            on_epoch_end=self._evaluate,
            compiling=compiling,
            note=self.notes.append,
        )

    def keep_state(self, path: Path, origin: str, every: int) -> None:
        """Keep the state in a file after every so many steps, and continue with an earlier process's."""

        def state() -> State:
            epochs = [epoch.model_dump(mode="json") for epoch in self.history]
            return {"watch": self._watch.state(), "history": epochs}

        def restore(state: State) -> None:
            self._watch.restore(state["watch"])
            self.history = [Epoch.model_validate(epoch) for epoch in state["history"]]
            missing = "its peak memory" if self._timed_apart else "its speed and its peak memory"
            self.notes.append(f"it was interrupted and continued: {missing} could not be measured")

        file = StateFile(path, origin, every, aside=self._aside)
        self._training = replace(self._training, resuming=Resuming(file, state, restore))

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Count the time in the context as writing, and its memory not at all."""
        with self._clock.phase("write"), self.memory.paused():
            yield

    def run(self) -> None:
        """Train to the end."""
        self._watch.begin()
        if self._purpose == "train":
            self._samples.begin()
        try:
            with self._compilations or nullcontext():
                ENGINES[self._trial.engine].train(self._training)
        finally:
            self._samples.end()
        self.observed = self._watch.end()
        self._meter.count_energy_of_all()

    def _evaluate(self, epoch: int, train_loss: float) -> None:
        """Evaluate in rank 0, the others waiting; a proof watches every rank do the same.

        Raises:
            TrialStoppedError: `failed`, where the time and energy of the evaluation would count as training.
        """
        if self._meter.timing:
            raise TrialStoppedError(
                "failed",
                f"epoch {epoch} is evaluated inside of a timed window of training",
                hint="the engine is at fault, not the suite: report it",
            )
        if self._purpose == "time":
            return
        if self.leads or self._purpose != "train":
            self._score(epoch, train_loss)
        self._watch.new_epoch()
        ranks.wait()

    def _score(self, epoch: int, train_loss: float) -> None:
        with self._clock.phase("evaluate"):
            batch_size = self._trial.train.per_device_eval_batch_size
            self.logits = predict(self._model, self.evaluation, batch_size, self._trial.precision)
            self.score = score_splits(self.logits, self._tokens.evaluation.labels, self._tokens.splits)
        self.history.append(Epoch(epoch=epoch, train_loss=train_loss, scores=self.score.scores))

    def check_steps(self) -> None:
        """Compute some optimizer steps of the training again.

        Raises:
            TrialStoppedError: `failed`, where they are not those of the trial's settings.
        """
        self._samples.check()

    def check_evaluation(self) -> None:
        """Compare the kept logits of some rows with those of the trained model.

        Raises:
            TrialStoppedError: `failed`, where they differ.
        """
        batch_size, precision = self._trial.train.per_device_eval_batch_size, self._trial.precision
        check_logits(self._model, self.evaluation, batch_size, precision, self.logits)

    def check_saved(self, folder: Path, labels: Sequence[str]) -> None:
        """Compare the model saved in the folder with the trained one, and its logits of a few rows.

        Raises:
            TrialStoppedError: `failed`, where they differ.
        """
        tokens, adapter = self._tokens, self._trial.adapter
        check_saved(folder, tokens.evaluation, self._trial, self.logits, tokens.pad_token_id)
        check_saved_files(folder, self._checkpoint, self._model, adapter, labels, tokens.evaluation)

    def of_whole(self, found: Iterable[Measurement]) -> list[Measurement]:
        """Return the measurements; of a training that was continued, without those of its last part alone."""
        if (why := self._meter.interrupted) is None:
            return list(found)
        return [unmeasured(each.metric, why) if each.metric in _OF_WHOLE else each for each in found]

    def timings(self, device: Device) -> list[Measurement]:
        """Return the measurements of the step meter."""
        shape: EncoderShape | str = (
            EncoderShape.of(self._model.config, self._trial.last_layer) or UNKNOWN_SHAPE
            if self._trial.adapter.kind == "none"
            else "FLOPs are counted for a backward pass over all weights, and an adapter freezes most"
        )
        lengths = self._tokens.train.lengths
        return self._meter.measurements(lengths, shape, device, self._trial.precision, self._trial.world_size)

    def measurements(self, device: Device) -> list[Measurement]:
        """Return the scores and the loss of the last epoch, and the measurements of the step meter."""
        return [
            *(measured(metric, value) for metric, value in self.history[-1].values.items()),
            *(
                unmeasured(metric, "the output, or every target, is constant: it has no correlation")
                for metric in scores_of(self._trial.task)
                if metric_named(metric).correlates and metric not in self.history[-1].values
            ),
            measured("train_step_loss", *thinned(self._training.record.by_step())),
            *self.timings(device),
            *(() if self._compilations is None else self._compilations.measurements()),
        ]


def thinned(losses: Sequence[float], most: int = MOST_LOSSES) -> list[float]:
    """Return at most `most` losses: means over as few consecutive steps as that takes.

    >>> thinned([1.0, 2.0, 3.0, 5.0, 7.0], most=3)
    [1.5, 4.0, 7.0]
    """
    steps = -(-len(losses) // most)
    groups = (losses[start : start + steps] for start in range(0, len(losses), max(steps, 1)))
    # Nine digits restore a loss in fp32 exactly.
    return [float(f"{fmean(group):.9g}") for group in groups]


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
            seed=number_of(trial.seed, "order"),
            epoch=epoch,
            accumulated=train.gradient_accumulation_steps,
            ranks=trial.world_size,
        )
        for epoch in range(epochs)
    ]


# The steps of a window are out of order and without the schedule: at the full rate they could diverge.
_RATE_OF_WINDOW: Final = 1e-3


def _window(
    trial: Trial, epochs: Sequence[Sequence[Batch]], warm_up: int
) -> tuple[Trial, list[list[Batch]], int]:
    """Return a trial that takes the steps of a window alone, its one epoch, and the steps that warm up."""
    chosen = step_window(_steps_of(trial, epochs), warm_up)
    every = (*chosen.warm_up, *chosen.timed)
    train = trial.train.model_copy(
        update={
            "max_steps": len(every),
            "learning_rate": trial.train.learning_rate * _RATE_OF_WINDOW,
            "lr_scheduler_type": "constant",
            "lr_scheduler_kwargs": None,
            "warmup_steps": 0,
        }
    )
    batches = [batch for step in every for batch in step]
    return trial.model_copy(update={"train": train}), [batches], len(chosen.warm_up)


def _steps_of(trial: Trial, epochs: Sequence[Sequence[Batch]]) -> list[Sequence[Batch]]:
    """Return the batches of each optimizer step of a training."""
    size = trial.train.gradient_accumulation_steps
    planned = [epoch[start : start + size] for epoch in epochs for start in range(0, len(epoch), size)]
    return planned[: _count_steps(trial, epochs)]


def _check_warmup(train: Train, steps: int) -> None:
    """Make sure that transformers' `polynomial` does not divide by zero steps after warm-up.

    Raises:
        TrialStoppedError: `failed`, where all steps are warm-up.
    """
    given = train.warmup_steps
    warmup = int(given) if given >= 1 else math.ceil(given * steps)
    # With more warm-up than steps, training ends before the division.
    if train.lr_scheduler_type == "polynomial" and warmup == steps:
        raise TrialStoppedError(
            "failed",
            f"the polynomial schedule has no step after warm-up: {warmup} of {steps} steps are warm-up",
            hint="lower train.warmup_steps",
        )


def _count_steps(trial: Trial, epochs: Sequence[Sequence[Batch]]) -> int:
    if trial.train.max_steps > 0:
        return trial.train.max_steps
    return sum(-(-len(epoch) // trial.train.gradient_accumulation_steps) for epoch in epochs)
