"""Whether a training runs in the precision that was asked for: by dtype, and by the difference it makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

import numpy as np
import torch

from harness.model.arguments import Train
from harness.model.proof import TrainingCheck
from harness.model.results import TrialResult
from harness.model.values import Precision
from harness.training.devices import precision_of_products
from harness.training.proofs.findings import largest, none_of, within
from harness.training.proofs.reference import Tensors, replay_steps
from harness.training.proofs.trajectory import change_error
from harness.training.proofs.watching import Pass, Seen, Update

_DTYPES: Final[dict[Precision, torch.dtype]] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
# Losses and logits of the small model are of order one. Correct engines in bf16 were 4e-5 to 2.8e-2 from fp32
# (a DistilBERT with large initial weights); a training as near as another one in fp32, 2e-7, was fp32.
_APART_LIMIT: Final = 5e-2
_NOT_EQUAL: Final = 2e-6
# From equal gradients optimizers in fp32 differ by 5e-6 of a tensor's change.
_STEP_LIMIT: Final = 2e-4
# Of a product in bf16, over its largest value: correct engines reach 6e-3, weights of earlier steps 6e-2.
_PRODUCT_LIMIT: Final = 2e-2
# Fewer values may be exact by chance.
_FEWEST: Final = 16


def check_dtypes(precision: Precision, seen: Seen) -> TrainingCheck:
    """Check the dtypes of linear layers' results, losses and optimizer states; no state may be rounded.

    Linear layers have to compute with the weights of their step, not with copies of earlier ones.
    """
    return none_of(
        "precision",
        chain(_wrong_dtypes(precision, seen), _stale(seen), _rounded(seen)),
        f"linear layers compute {precision} in training and evaluation; losses, parameters, gradients and "
        "the optimizer's averages are fp32",
    )


def _wrong_dtypes(precision: Precision, seen: Seen) -> Iterator[str]:
    due = {_DTYPES[precision]}
    for name, passes in (("training", seen.training), ("evaluation", seen.evaluation)):
        found = frozenset[torch.dtype]().union(*(each.dtypes for each in passes))
        if found != due:
            yield f"linear layers give {_names(found)} in {name}, {precision} was asked for"
    products = precision_of_products()
    expected = ("tf32" if precision == "tf32" else "ieee", "ieee")
    if products != expected:
        formats = " and ".join(products)
        yield f"products of fp32 use {formats} on CUDA and the CPU, due {' and '.join(expected)}"
    losses = [each.loss for each in seen.training if each.loss is not None]
    if any(loss.dtype != torch.float32 for loss in losses):
        yield f"losses are {_names(frozenset(loss.dtype for loss in losses))}, due fp32"
    elif losses and all(torch.equal(loss, loss.bfloat16().float()) for loss in losses):
        yield "every loss is rounded to bf16"
    kept = {
        tensor.dtype for each in seen.updates for tensor in (*each.kept.values(), *each.gradients.values())
    }
    if kept != {torch.float32}:
        yield f"parameters, gradients or the optimizer's averages are {_names(frozenset(kept))}, due fp32"


def _stale(seen: Seen) -> Iterator[str]:
    error = max((each.product_error for each in seen.passes), default=0.0)
    if error > _PRODUCT_LIMIT:
        yield f"linear layers compute with other weights than those of the step: {error:.2g} apart"


def _rounded(seen: Seen) -> Iterator[str]:
    """Name fp32 tensors all of whose values have half precision, as if they were kept in it.

    Of a value in fp32 the bits that bf16 lacks are zero by chance once in 65,536 times. Under autocast
    gradients of linear layers are rounded, and those of embeddings and norms are not.
    """
    for step, update in enumerate(seen.updates, start=1):
        for name, each in update.kept.items():
            if dtype := _half_of(each):
                yield f"{name} is rounded to {dtype} before step {step}"
        gradients = [
            each
            for name, each in update.gradients.items()
            if name not in seen.linear and each.numel() >= _FEWEST and each.any()
        ]
        if gradients and all(map(_half_of, gradients)):
            yield f"every gradient is rounded before step {step}"


def _half_of(tensor: torch.Tensor) -> str | None:
    """Return the half precision that has every value of a tensor; None for few values, or a constant."""
    if tensor.numel() < _FEWEST or bool((tensor == tensor.flatten()[0]).all()):
        return None
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        if torch.equal(tensor, tensor.to(dtype).to(tensor.dtype)):
            return name
    return None


def check_steps(
    precision: Precision, train: Train, start: Tensors, updates: Iterable[Update]
) -> TrainingCheck:
    """Repeat the optimizer steps of a training in a reduced precision from the gradients that each took.

    Losses of a reduced precision have wide limits; the optimizer's part is in fp32 and has those of fp32.
    """
    found = list(updates)
    steps = [(each.gradients, max(each.rates, default=0.0)) for each in found]
    moved, errors = 0.0, []
    for (_, rate), update, due in zip(steps, found, replay_steps(train, start, steps), strict=True):
        moved += rate
        errors += [
            change_error(update.parameters[name], each, start[name], moved) for name, each in due.items()
        ]
    return within(
        f"{precision} optimizer steps",
        "largest error over a tensor's change",
        largest(errors),
        _STEP_LIMIT,
    )


def count_effective(start: Tensors, updates: Iterable[Update]) -> int:
    """Return how many optimizer steps changed a parameter: a gradient scaler skips those that overflow."""
    changed, before = 0, start
    for update in updates:
        after = update.parameters
        changed += any(not torch.equal(each, before[name]) for name, each in after.items())
        before = after
    return changed


def check_reduced(
    precision: Precision,
    full: tuple[Seen, TrialResult],
    reduced: tuple[Seen, TrialResult],
    *,
    left_out: int = 0,
) -> Iterator[TrainingCheck]:
    """Losses and logits of the same training in fp32 and in a reduced precision: near, and not equal.

    Each of the `left_out` optimizer steps, which fp16's gradient scaler skipped, widens the limit by itself.
    """
    limit = _APART_LIMIT * (1 + left_out)
    losses, logits = (
        tuple(map(take, (full, reduced)))
        for take in (lambda run: _losses(run[0].training), lambda run: _logits(run[1]))
    )
    for name, (one, other) in ((f"{precision} losses", losses), (f"{precision} logits", logits)):
        same = one.shape == other.shape and one.size
        apart = float(np.abs(one - other).max()) if same else float("nan")
        yield within(name, "largest difference from fp32", apart, limit)
        yield none_of(
            f"{name} are not fp32",
            [] if apart > _NOT_EQUAL else [f"they equal fp32's to {apart:.1e}: nothing ran in {precision}"],
            f"they differ from fp32's by {apart:.1e}",
        )


def _losses(passes: list[Pass]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The loss of each pass, or its largest logit where the engine computes the loss outside of the model."""
    return np.array([float(each.logits.max() if each.loss is None else each.loss) for each in passes])


def _logits(result: TrialResult) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([] if result.predictions is None else result.predictions.logits)


def _names(dtypes: frozenset[torch.dtype]) -> str:
    return " and ".join(sorted(str(each).removeprefix("torch.") for each in dtypes)) or "nothing"
