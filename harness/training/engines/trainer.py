"""The `trainer` engine: transformers' `Trainer`, the reference that users trust, on our batches."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import chain
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.model.seeds import number_of
from harness.training.engines.engine import Training
from harness.training.variants.compiling import compile_ahead


def train(training: Training) -> None:
    """Train with `Trainer.train`, timed by the training's meter and evaluated outside its windows."""
    with tempfile.TemporaryDirectory(prefix="harness-trainer-") as output_dir:
        trainer = _Trainer(training, _arguments(training, output_dir))
        compile_ahead(training)
        trainer.train()


def _arguments(training: Training, output_dir: str) -> TrainingArguments:
    """The trial's own settings, and everything off that writes, logs, reports or waits inside a step."""
    trial = training.trial
    return TrainingArguments(
        output_dir=output_dir,
        **trial.train.model_dump(),
        seed=number_of(trial.seed, "dropout"),
        bf16=trial.precision == "bf16",
        fp16=trial.precision == "fp16",
        use_cpu=training.device.type == "cpu",
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        # True would hide a loss that is not finite, and wait for the device at every step to do so.
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=training.device.type == "cuda",
    )


class _Trainer(Trainer):
    """A Trainer on planned batches that records the loss on the device."""

    # The models divide their loss by the batch, never by the accumulated count that Trainer assumes
    # (https://github.com/huggingface/transformers/issues/47688).
    loss_is_scaled_for_ga = False

    def __init__(self, training: Training, arguments: TrainingArguments) -> None:
        self.training = training
        self._rows = cast("Dataset[int]", range(len(training.collator.split)))
        super().__init__(model=training.model, args=arguments, train_dataset=self._rows)
        self.add_callback(_Meter(self))

    def get_train_dataloader(self) -> DataLoader[int]:
        """Our batches, in our order."""
        loader = DataLoader(
            self._rows,
            batch_sampler=_Epochs(self.training),
            collate_fn=self.training.collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        prepared: DataLoader[int] = self.accelerator.prepare(loader)
        return prepared

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Trainer's own loss, the mean over the batch with label smoothing too."""
        return super().compute_loss(*args, **{**kwargs, "num_items_in_batch": None})

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """A step of Trainer's own, its loss recorded."""
        loss = super().training_step(*args, **kwargs)
        # Trainer divides by the accumulated batches for the backward pass.
        of_batch = loss * self.current_gradient_accumulation_steps
        self.training.record.see(self.state.global_step + 1, of_batch)
        return loss

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        norm: torch.Tensor = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call] # Trainer's own
        # With a gradient scaler an infinite norm is normal: it lowers the scale and skips the step.
        if not self.args.fp16:
            self.training.record.see(self.state.global_step + 1, norm, gradient=True)
        return norm


class _Epochs(Sampler[list[int]]):
    """The planned rows of one epoch after the other; `set_epoch` is called by accelerate's loader."""

    def __init__(self, training: Training) -> None:
        self._epochs = training.epochs
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.rows.tolist() for batch in self._epochs[self._epoch])

    def __len__(self) -> int:
        return len(self._epochs[0])


class _Meter(TrainerCallback):
    """Opens and closes the meter's windows at the edges of epochs."""

    def __init__(self, trainer: _Trainer) -> None:
        self._trainer = trainer
        self._steps = list(chain.from_iterable(trainer.training.optimizer_steps()))
        self._epoch = 0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self._epoch += 1
        self._trainer.training.meter.open_window()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        batches = self._steps[state.global_step - 1]
        training = self._trainer.training
        training.meter.step(batches, self._epoch, lambda: training.record.last)

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        training = self._trainer.training
        training.meter.close_window()
        training.on_epoch_end(self._epoch, training.record.end_epoch())
