"""Checks of single optimizer steps of a trial's own training, spread from its first to its last.

A proof trains twelve steps with fixed settings. Here some steps with the trial's settings are computed
again for a few elements of each group of parameters: rate, decay, averages and the step itself. The pass that
follows has to begin with no gradient and in training mode, and some of these to drop elements at their rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from harness.analysis.checks.observed import dropout_breach
from harness.analysis.checks.schedule import optimizer_steps, schedule_factor
from harness.model.job import TrialStoppedError
from harness.model.trial import Trial
from harness.training.measuring.dropout_counts import DropoutCounts, dropped_share
from harness.training.variants.compiling import is_compiled

_STEPS: Final = 32
# Steps of which the norm of all gradients is computed, and after which dropped elements are counted.
_NORMS: Final = 4
_COUNTED: Final = 4
_ELEMENTS: Final = 64
_MOST_NAMED: Final = 3
_RATE_LIMIT: Final = 1e-5
# Of a step of one learning rate, and of the parameter: rounding in fp32.
_STEP_LIMIT: Final = 1e-3
_ROUNDING: Final = 1e-6
# The sum of squares over all gradients is rounded, and clipping divides by the norm and a millionth.
_NORM_LIMIT: Final = 1e-3


@dataclass(slots=True)
class _Sample:
    """A few elements of a group's largest parameter at one step, on their device; `after` is its result."""

    step: int
    group: dict[str, Any]
    parameter: torch.Tensor
    places: torch.Tensor
    before: torch.Tensor
    gradient: torch.Tensor
    mean: torch.Tensor
    square: torch.Tensor
    done: torch.Tensor | float
    after: torch.Tensor | None = None


class StepSamples:
    """Watches some optimizer steps of a training of `model`, from `begin` until `end`."""

    def __init__(self, trial: Trial, examples: int, model: PreTrainedModel) -> None:
        self._trial, self._model = trial, model
        # A hook would compile a graph again, and a replayed one calls no module.
        self._sees_passes = not (is_compiled(trial) or trial.cuda_graphs)
        self._total = optimizer_steps(trial, examples)
        few = np.random.default_rng(0).permutation(self._total)[:_STEPS].tolist()
        self._chosen = frozenset((0, self._total - 2, self._total - 1, *few))
        self._normed = frozenset(few[:_NORMS])
        # No pass follows the last step.
        self._counted = frozenset((self._total - 2, *few[:_COUNTED]))
        self._step = -1
        self._handles: list[RemovableHandle] = []
        self._awaited: RemovableHandle | None = None
        self._samples: list[_Sample] = []
        self._norms: list[tuple[int, torch.Tensor]] = []
        self._left: list[tuple[int, torch.Tensor]] = []
        self._modes: list[tuple[int, bool]] = []
        self._dropout = DropoutCounts(model)

    def begin(self) -> None:
        """Register the hooks."""
        self._handles = [
            register_optimizer_step_pre_hook(self._before),
            register_optimizer_step_post_hook(self._after),
        ]

    def end(self) -> None:
        """Remove the hooks."""
        awaited = () if self._awaited is None else (self._awaited,)
        for handle in (*self._handles, *awaited):
            handle.remove()
        self._dropout.stop()

    def check(self) -> None:
        """Compare the steps with those that the settings give.

        Raises:
            TrialStoppedError: `failed`, naming the first that differ.
        """
        problems = list(islice(self._problems(), _MOST_NAMED))
        if problems:
            raise TrialStoppedError(
                "failed",
                f"the training did not follow its settings: {'; '.join(problems)}",
                hint="this is a defect of the engine, not of the suite: run `harness prove` and report it",
            )

    def _before(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        self._step = self._step + 1 if self._step >= 0 else _steps_of(optimizer)
        if self._step not in self._chosen:
            return
        groups = optimizer.param_groups
        if self._step in self._normed:
            gradients = [each.grad for group in groups for each in group["params"] if each.grad is not None]
            norms = [torch.linalg.vector_norm(each) for each in gradients]
            self._norms.append((self._step, torch.linalg.vector_norm(torch.stack(norms))))
        self._samples += [
            sample for group in groups if (sample := _sample(self._step, group, optimizer.state)) is not None
        ]

    def _after(self, _optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        if self._step not in self._chosen:
            return
        for each in self._samples:
            if each.step == self._step:
                each.after = _at(each.parameter, each.places)
        if self._sees_passes and self._awaited is None:
            self._awaited = self._model.register_forward_pre_hook(self._next_pass)

    def _next_pass(self, *_: Any) -> None:
        """Check mode and gradients before the first training pass after a step; skip evaluation passes."""
        if not torch.is_grad_enabled():
            return
        assert self._awaited is not None
        self._awaited.remove()
        self._awaited = None
        self._modes.append((self._step + 1, all(each.training for each in self._model.modules())))
        for each in self._samples:
            if each.step == self._step and each.parameter.grad is not None:
                self._left.append((each.step + 1, _at(each.parameter.grad, each.places).abs().max()))
        if self._step in self._counted:
            self._dropout.count_next_pass()

    def _problems(self) -> Iterator[str]:
        train = self._trial.train
        for step, training in self._modes:
            if not training:
                yield f"a pass after step {step} ran in evaluation mode, in which nothing is dropped"
        for step, left in self._left:
            if float(left):
                yield f"the gradients of step {step} were not dropped after it"
        yield from dropout_breach("passes all over the training", *dropped_share(self._dropout.counts))
        if self._trial.precision == "fp16":
            # A gradient scaler unscales inside of a step, and skips those that overflow.
            return
        for step, norm in self._norms:
            if 0 < train.max_grad_norm * (1 + _NORM_LIMIT) < float(norm):
                yield f"the gradients of step {step + 1} have norm {float(norm):.4g}, beyond max_grad_norm"
        for each in self._samples:
            yield from _wrong_rate(each, train.learning_rate, schedule_factor(train, each.step, self._total))
        if train.optim.startswith("adamw"):
            yield from self._wrong_settings()
            yield from filter(None, map(_wrong_step, self._samples))

    def _wrong_settings(self) -> Iterator[str]:
        train = self._trial.train
        due = {"betas": (train.adam_beta1, train.adam_beta2), "eps": train.adam_epsilon}
        decays = {each.group["weight_decay"] for each in self._samples}
        if decays and max(decays) != train.weight_decay:
            yield f"the optimizer decays by {max(decays):g}, due {train.weight_decay:g}"
        for each in self._samples:
            for name, value in due.items():
                if each.group[name] != value:
                    yield f"{name} of the optimizer are {each.group[name]}, due {value}"


def _steps_of(optimizer: torch.optim.Optimizer) -> int:
    """Return the steps that an optimizer has taken, in an earlier process too."""
    found = [int(state["step"]) for state in optimizer.state.values() if "step" in state]
    return max(found, default=0)


def _at(tensor: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return tensor.detach().reshape(-1)[places].clone()


def _sample(step: int, group: dict[str, Any], states: Any) -> _Sample | None:
    known = [each for each in group["params"] if each.grad is not None and each.numel()]
    if not known:
        return None
    largest = max(known, key=torch.Tensor.numel)
    count = min(_ELEMENTS, largest.numel())
    places = torch.linspace(0, largest.numel() - 1, count, dtype=torch.float64).long().to(largest.device)
    state = states.get(largest, {})
    nothing = torch.zeros(count, device=largest.device)
    mean, square = (
        _at(state[name], places) if name in state else nothing for name in ("exp_avg", "exp_avg_sq")
    )
    done = state.get("step", 0.0)
    return _Sample(
        step=step,
        group={name: value for name, value in group.items() if name != "params"},
        parameter=largest,
        places=places,
        before=_at(largest, places),
        gradient=_at(largest.grad, places),
        mean=mean,
        square=square,
        done=done.clone() if isinstance(done, torch.Tensor) else done,
    )


def _wrong_rate(each: _Sample, rate: float, factor: float) -> Iterator[str]:
    given = float(each.group["lr"])
    if abs(given - rate * factor) > _RATE_LIMIT * rate:
        yield f"the learning rate of step {each.step + 1} was {given:.6g}, due {rate * factor:.6g}"


def _wrong_step(each: _Sample) -> str | None:
    """Return how a step differs from AdamW (Loshchilov and Hutter 2019, algorithm 2), or None."""
    if each.after is None:
        return f"step {each.step + 1} did not end"
    if float(each.done) != each.step:
        return f"step {each.step + 1} of the training was step {float(each.done) + 1:.0f} of its optimizer"
    number, rate, (beta1, beta2) = each.step + 1, float(each.group["lr"]), each.group["betas"]
    before, after, gradient, mean, square = (
        part.double().cpu() for part in (each.before, each.after, each.gradient, each.mean, each.square)
    )
    mean = (beta1 * mean + (1 - beta1) * gradient) / (1 - beta1**number)
    square = (beta2 * square + (1 - beta2) * gradient**2) / (1 - beta2**number)
    due = before * (1 - rate * each.group["weight_decay"]) - rate * mean / (square.sqrt() + each.group["eps"])
    wrong = (after - due).abs() > _STEP_LIMIT * rate + _ROUNDING * before.abs()
    if bool(wrong.any()):
        return f"step {number} of the optimizer changed parameters otherwise than its gradients give"
    return None
