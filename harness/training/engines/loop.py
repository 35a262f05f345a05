"""The `loop` engine: the same training as `trainer`'s, step by step, with minimal work in a step.

Against transformers' `Trainer` it has no data loader, no callbacks and no bookkeeping, waits for the device
at the edges of an epoch alone, and keeps the garbage collector out. The embedding has only the rows that
the data uses. On the CPU it also replaces what computes the same slowly, unless the model is compiled:
dropout's masks, and attention with dropout. On CUDA its linear layers compute from half copies of all
parameters, and it can replay its passes over padded batches as graphs (`cuda_graphs`).

With `world_size` every rank passes over its share of a batch, with a loss weighted by its rows, and one sum
of the flat gradients over the ranks at each optimizer step gives the gradient of the whole batch. This is the
function of `DistributedDataParallel`, without its overlap of sums and backward passes.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Final
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import PreTrainedModel, get_scheduler, set_seed
from transformers.trainer_pt_utils import get_parameter_names

from harness.model.arguments import Train
from harness.model.job import TrialStoppedError
from harness.model.seeds import SeedRoles, number_of
from harness.model.trial import Trial
from harness.training import ranks
from harness.training.batching import Batch
from harness.training.devices import autocast
from harness.training.engines.cpu_attention import use_attention
from harness.training.engines.cuda_graphs import CudaRecorder, Inputs, Pass, Recorder, graph_passes
from harness.training.engines.dropout import RandomBits, replace_dropout
from harness.training.engines.engine import Training
from harness.training.engines.half import half_copies, use_half_layers
from harness.training.engines.used_rows import keep_used_rows
from harness.training.resuming import generator_states, set_generator_states
from harness.training.tokenizing.tokens import Tokenized
from harness.training.variants.compiling import compile_ahead, is_compiled

# Whether an optimizer steps in one kernel.
_FUSED: Final = {"adamw_torch": False, "adamw_torch_fused": True}

# Devices where the number of kernels bounds a step, so that conversions are worth saving.
_HALF_ON = {"cuda"}

# What weight decay leaves out, besides the parameters of layer norms: as in transformers' Trainer.
_NOT_DECAYED = (r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)")

# What draws the masks of a model's dropout and attention.
_DRAWS: Final[WeakKeyDictionary[PreTrainedModel, RandomBits]] = WeakKeyDictionary()


def prepare(trial: Trial, model: PreTrainedModel, tokens: Tokenized) -> None:
    """Replace modules in place by equal ones that the device computes faster."""
    keep_used_rows(model, tokens)
    # Checkpointing runs a layer twice and restores the state of torch alone in between. A compiler
    # makes its own of the plain modules, and cannot trace masks that numpy draws.
    plain = trial.train.gradient_checkpointing or is_compiled(trial)
    if model.device.type in _HALF_ON and not plain:
        use_half_layers(trial, model)
    if model.device.type == "cpu" and not plain:
        draw = RandomBits(ranks.seed_of(number_of(trial.seed, "dropout")))
        _DRAWS[model] = draw
        replace_dropout(model, draw)
        if trial.attention == "sdpa" and trial.attention_backend is None:
            use_attention(model, draw, unpadded=trial.padding.strategy == "unpadded")


def train(training: Training, recorder: Callable[[torch.device], Recorder] = CudaRecorder) -> None:
    """Train over the planned batches, timed by the training's meter and evaluated outside its windows.

    Args:
        training: what to train, and how.
        recorder: makes what captures passes, where the trial asks for CUDA graphs.

    Raises:
        TrialStoppedError: `diverged` for numbers that are not finite, `failed` for passes that cannot be
            captured, `unavailable` without CUDA to capture them.
    """
    seed = training.trial.seed
    if isinstance(seed, SeedRoles):
        # With one seed for all roles, masks of torch's generator follow the draws of the initial weights.
        set_seed(number_of(seed, "dropout"))
        ranks.seed_apart(number_of(seed, "dropout"))
    if training.trial.train.gradient_checkpointing:
        training.model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call] # transformers leaves it so
    loop = _Loop(training)
    compile_ahead(training)
    with _without_garbage_collection():
        if training.trial.cuda_graphs:
            with training.compiling():
                loop.capture(recorder(training.device))
        loop.restore()
        try:
            for epoch, steps in enumerate(training.optimizer_steps(), start=1):
                loop.run_epoch(epoch, steps)
        finally:
            loop.end()


class _Loop:
    """The optimizer and what an epoch counts."""

    def __init__(self, training: Training) -> None:
        self._training = training
        settings = training.trial.train
        self._optimizer = _optimizer(training.model, settings)
        self._flat = [each for group in self._optimizer.param_groups for each in group["params"]]
        self._half = half_copies(training.model, self._flat, training.trial.precision)
        self._schedule = _schedule(self._optimizer, settings, training.meter.steps)
        self._scaler = torch.amp.GradScaler(training.device.type, enabled=training.trial.precision == "fp16")
        self._record = training.record
        self._loss = torch.zeros((), device=training.device)
        self._step = 0
        self._restored = 0
        self._rank = ranks.rank()
        self._pass: Pass = self._run

    def capture(self, recorder: Recorder) -> None:
        """Replay from now on the passes over batches whose shape comes often."""
        # A gradient scaler makes its scale when it is first asked, and no graph may do that.
        self._scaler.scale(self._loss)
        with nullcontext() if self._half is None else self._half.overlapping():
            self._pass = graph_passes(self._training, self._run, self._inputs, recorder)
        self._optimizer.zero_grad(set_to_none=False)

    def restore(self) -> None:
        """Continue with the state that an earlier process has left, if it has."""
        resuming = self._training.resuming
        if resuming is None or not resuming.file.path.exists():
            return
        if (state := resuming.file.read()) is None:
            self._training.note(
                "began at its first step: the state of its earlier attempt is damaged or of "
                "another environment or version"
            )
            return
        with torch.no_grad():
            for flat, before in zip(self._flat, state["parameters"], strict=True):
                flat.copy_(before)
        if self._half is not None:
            self._half.refresh()
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])
        self._record.restore(state["record"])
        self._restored = state["step"]
        resuming.restore(state["around"])
        if (draw := _DRAWS.get(self._training.model)) is not None:
            draw.state = state["masks"]
        set_generator_states(state["generators"], self._training.device)

    def end(self) -> None:
        """Leave the model as it was, but for its parameters."""
        if self._half is not None:
            self._half.detach()

    def run_epoch(self, epoch: int, steps: Sequence[Sequence[Batch]]) -> None:
        """Take the steps of one epoch that an earlier process has not taken, and evaluate."""
        training = self._training
        done = min(max(self._restored - self._step, 0), len(steps))
        self._step += done
        training.meter.skip(steps[:done])
        if done == len(steps):
            return
        training.meter.open_window()
        for batches in steps[done:]:
            self._step += 1
            for batch in batches:
                self._loss = self._loss_of(batch, len(batches))
                self._record.see(self._step, self._loss)
            self._update()
            training.meter.step(batches, epoch, lambda: self._record.last)
            if batches is not steps[-1] and self._keeps():
                self._keep_within()
        training.meter.close_window()
        if training.trial.world_size > 1:
            ranks.check_agreement(self._flat)
        training.on_epoch_end(epoch, self._record.end_epoch())
        if self._keeps() and self._step < training.meter.steps:
            self._keep()

    def _keeps(self) -> bool:
        """Whether the state after this step is kept."""
        resuming = self._training.resuming
        return resuming is not None and self._step % resuming.file.every == 0

    def _keep_within(self) -> None:
        """Keep the state between two steps of an epoch, outside of the timed windows."""
        meter = self._training.meter
        meter.close_window()
        self._keep()
        meter.open_window()

    def _keep(self) -> None:
        """Write the state after this step, from which the next steps follow."""
        resuming = self._training.resuming
        assert resuming is not None
        draw = _DRAWS.get(self._training.model)
        resuming.file.write(
            {
                "step": self._step,
                "parameters": [each.detach() for each in self._flat],
                "optimizer": self._optimizer.state_dict(),
                "schedule": self._schedule.state_dict(),
                "scaler": self._scaler.state_dict(),
                "record": self._record.state(),
                "around": resuming.state(),
                "masks": None if draw is None else draw.state,
                "generators": generator_states(self._training.device),
            }
        )

    def _loss_of(self, batch: Batch, accumulated: int) -> torch.Tensor:
        """Return the mean loss of a batch, and add the gradient of this rank's share of it."""
        training = self._training
        if training.trial.world_size == 1:
            return self._pass(self._inputs(batch), accumulated)
        # Shares of a short batch differ in rows: each counts by its rows, and one without rows not at all.
        weight = len(batch.share_of(self._rank)) / len(batch.rows)
        loss = torch.zeros((), device=training.device)
        if weight:
            loss += weight * self._run(self._inputs(batch), accumulated, weight)
        ranks.add_up(loss)
        return loss

    def _inputs(self, batch: Batch) -> Inputs:
        """This rank's share of the batch on the host, in memory from which CUDA copies without waiting."""
        inputs = self._training.collator(batch.share_of(self._rank).tolist())
        if self._training.device.type != "cuda":
            return inputs
        return {name: tensor.pin_memory() for name, tensor in inputs.items()}

    def _run(self, inputs: Inputs, accumulated: int, weight: float = 1.0) -> torch.Tensor:
        """Return the loss of a batch, and add its gradient times `weight` to the accumulated ones."""
        training = self._training
        there = {name: tensor.to(training.device, non_blocking=True) for name, tensor in inputs.items()}
        with autocast(training.device, training.trial.precision, cache=not training.trial.cuda_graphs):
            loss = training.loss_of(training.model, there)
        scaled = loss / accumulated if accumulated > 1 else loss
        self._scaler.scale(scaled if weight == 1.0 else weight * scaled).backward()  # type: ignore[no-untyped-call] # torch leaves it so
        if self._half is not None:
            self._half.collect()
        return loss.detach()

    def _update(self) -> None:
        """Add up the ranks' gradients, clip, step the optimizer and its learning rate, drop the gradients."""
        if self._training.trial.world_size > 1:
            for each in self._flat:
                ranks.add_up(each.grad)
        max_norm = self._training.trial.train.max_grad_norm
        if max_norm > 0:
            self._scaler.unscale_(self._optimizer)
            norm = nn.utils.clip_grad_norm_(self._flat, max_norm)
            # With a gradient scaler an infinite norm is normal: it lowers the scale and skips the step.
            if not self._scaler.is_enabled():
                self._record.see(self._step, norm, gradient=True)
        if self._step_optimizer():
            self._schedule.step()
        if self._half is not None:
            self._half.refresh()
        # Not set to None: every parameter's gradient is a view of these.
        self._optimizer.zero_grad(set_to_none=False)

    def _step_optimizer(self) -> bool:
        """Whether the optimizer stepped: a gradient scaler leaves it out where fp16 overflowed."""
        if not self._scaler.is_enabled():
            self._optimizer.step()
            return True
        before = self._scaler.get_scale()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return self._scaler.get_scale() >= before


def _optimizer(model: nn.Module, settings: Train) -> torch.optim.AdamW:
    if settings.optim not in _FUSED:
        raise TrialStoppedError(
            "failed", f"the loop engine serves AdamW alone, not {settings.optim}", hint="use engine: trainer"
        )
    decayed = set(get_parameter_names(model, [nn.LayerNorm], list(_NOT_DECAYED)))  # type: ignore[no-untyped-call] # transformers leaves it so
    named = [(name, each) for name, each in model.named_parameters() if each.requires_grad]
    groups = [
        {"params": [flatten(of_group)], "weight_decay": decay}
        for decays, decay in ((True, settings.weight_decay), (False, 0.0))
        if (of_group := [each for name, each in named if (name in decayed) is decays])
    ]
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=_FUSED[settings.optim],
    )


def _schedule(
    optimizer: torch.optim.Optimizer, settings: Train, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """As `Trainer` reads them: `warmup_steps` below one are a share of all."""
    given = settings.warmup_steps
    warmup = int(given) if given >= 1 else math.ceil(steps * given)
    options = settings.lr_scheduler_kwargs
    schedule: torch.optim.lr_scheduler.LambdaLR = get_scheduler(
        settings.lr_scheduler_type,
        optimizer,
        num_warmup_steps=warmup,
        num_training_steps=steps,
        scheduler_specific_kwargs=None if options is None else options.given(),
    )
    return schedule


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """A step leaves no cycles behind, and a collection would look at every object of the libraries."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def flatten(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    """Return one vector of all parameters, whose gradient is the vector of their gradients.

    The parameters and their gradients become views of it, so that what changes the one changes the other; a
    gradient may be zeroed or added to, not replaced.
    """
    flat = nn.Parameter(torch.cat([each.detach().flatten() for each in parameters]))
    flat.grad = torch.zeros_like(flat)
    sizes = [each.numel() for each in parameters]
    gradients = torch.split(flat.grad, sizes)
    for each, values, gradient in zip(parameters, torch.split(flat.detach(), sizes), gradients, strict=True):
        # Detached they share memory but are no views, each of which torch.compile would trace with its base.
        each.data = values.view_as(each).detach()
        each.grad = gradient.view_as(each).detach()
    return flat
