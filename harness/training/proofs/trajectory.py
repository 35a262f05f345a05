"""A training without dropout, step by step, compared with the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
import torch

from harness.model.arguments import Train
from harness.model.proof import TrainingCheck
from harness.model.results import TrialResult
from harness.training.proofs.findings import largest, none_of, within
from harness.training.proofs.reference import ReferenceEpoch, Tensors, loss_of
from harness.training.proofs.reference_batches import row_of
from harness.training.proofs.watching import Seen
from harness.training.tokenizing.tokens import Tokenized

# Correct engines differ from the reference by 1e-7 in losses and logits of order one, and by 5e-5 of a
# tensor's change, which is the rounding of its values in fp32: the limits are twenty times that and more.
LOSS_LIMIT: Final = 1e-5
LOGIT_LIMIT: Final = 1e-5
RATE_LIMIT: Final = 1e-6
PARAMETER_LIMIT: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A training of an engine, and the reference's of the same trial.

    `used` are the rows of embeddings that keep only some, `seconds` the time that the training took.
    """

    name: str
    train: Train
    tokens: Tokenized
    seen: Seen
    result: TrialResult
    start: Tensors
    epochs: Sequence[ReferenceEpoch]
    used: Mapping[str, torch.Tensor]
    seconds: float


def check_trajectory(found: Trajectory) -> Iterator[TrainingCheck]:
    """Batches, losses, learning rates, parameters and modes of every step."""
    passes, steps = found.seen.training, [step for epoch in found.epochs for step in epoch.steps]
    expected = [batch for step in steps for batch in step.batches]
    rows = [tuple(row_of(found.tokens.train, row) for row in batch) for batch in expected]
    labels = [tuple(found.tokens.train.labels[row].item() for row in batch) for batch in expected]
    smoothing = found.train.label_smoothing_factor
    yield none_of(
        f"batches{found.name}",
        chain(
            _differing("rows", [each.rows for each in passes], rows),
            () if smoothing else _differing("labels", [each.labels for each in passes], labels),
        ),
        f"{len(rows)} passes over the reference's rows and labels, in its order",
    )
    losses = [loss for step in steps for loss in step.losses]
    # With label smoothing an engine computes its loss outside of the model.
    given = (
        [
            float(loss_of(one.logits, torch.tensor(due), smoothing))
            for one, due in zip(passes, labels, strict=False)
        ]
        if smoothing
        else [float("nan") if each.loss is None else each.loss.item() for each in passes]
    )
    yield within(f"losses{found.name}", "largest difference", _apart(given, losses), LOSS_LIMIT)
    yield _updates(found, [len(step.batches) for step in steps])
    yield within(f"learning rates{found.name}", "largest relative difference", _rates(found), RATE_LIMIT)
    yield within(f"parameters{found.name}", *_parameters(found), PARAMETER_LIMIT)
    yield none_of(
        f"training mode{found.name}",
        (f"pass {at} ran in evaluation mode" for at, each in enumerate(passes, 1) if each.modes != {True}),
        "every training pass ran in training mode",
    )
    yield _recomputation(found)


def check_evaluation(found: Trajectory) -> Iterator[TrainingCheck]:
    """Rows, mode and logits of every evaluation, and the predictions in the result."""
    split = found.tokens.evaluation
    expected = sorted(row_of(split, row) for row in range(len(split))) * len(found.epochs)
    given = [row for each in found.seen.evaluation for row in each.rows]
    yield none_of(
        f"evaluation rows{found.name}",
        _evaluation_problems(given, sorted(expected), found),
        f"{len(found.epochs)} evaluations, each of every row of the split once, in evaluation mode",
    )
    kept = found.result.predictions
    ids = [] if kept is None else list(kept.example_ids)
    labels = [] if kept is None else list(kept.labels)
    lengths = [] if kept is None else list(kept.lengths or ())
    final = found.epochs[-1].logits
    answers = final[:, 0] if final.shape[1] == 1 else final.argmax(dim=1)
    single = len(set(answers.tolist())) == 1
    yield none_of(
        f"evaluation examples{found.name}",
        chain(
            _differing("example ids", ids, split.example_ids.tolist()),
            _differing("labels", labels, split.labels.tolist()),
            _differing("lengths", lengths, [len(row_of(split, row)) for row in range(len(split))]),
            _differing("mark as degenerate", [found.result.degenerate], [single]),
            _differing(
                "epoch", [each.epoch for each in found.result.epochs], [*range(1, len(found.epochs) + 1)]
            ),
        ),
        "ids, labels and lengths in the split's order, and epochs counted from 1",
    )
    logits = np.array([] if kept is None else kept.logits)
    last = found.epochs[-1].logits.numpy()
    apart = float(np.abs(logits - last).max()) if logits.shape == last.shape else float("nan")
    yield within(f"logits{found.name}", "largest difference after the last step", apart, LOGIT_LIMIT)


def _differing(what: str, given: Sequence[object], expected: Sequence[object]) -> Iterator[str]:
    if len(given) != len(expected):
        yield f"{len(given)} {what} where the reference has {len(expected)}"
    for at, (one, other) in enumerate(zip(given, expected, strict=False), start=1):
        if one != other:
            yield f"{what} {at} differ from the reference's"


def _apart(given: Sequence[float], expected: Sequence[float]) -> float:
    if len(given) != len(expected):
        return float("nan")
    return largest([abs(one - other) for one, other in zip(given, expected, strict=True)])


def _updates(found: Trajectory, batches: Sequence[int]) -> TrainingCheck:
    """Whether the optimizer steps after as many batches as it should, each time."""
    done = np.cumsum(batches).tolist()
    # Both kernels compute the same step: only their speed differs, which a trial compares.
    fused = found.train.optim == "adamw_torch_fused"
    kernels = ("many kernels", "one kernel")
    return none_of(
        f"optimizer steps{found.name}",
        chain(
            _differing("passes before optimizer step", [each.passes for each in found.seen.updates], done),
            (
                f"{found.train.optim} steps in {kernels[not fused]}, due in {kernels[fused]}"
                for each in found.seen.updates
                if each.fused != fused
            ),
        ),
        f"{len(done)} steps over {done[-1]} batches",
    )


def _recomputation(found: Trajectory) -> TrainingCheck:
    """Whether backward passes compute layers once more with gradient checkpointing, and never without."""
    asked = found.train.gradient_checkpointing
    again = [update.recomputed for update in found.seen.updates]
    return none_of(
        f"gradient checkpointing{found.name}",
        (
            f"the backward passes of step {at} called {count} linear layers"
            for at, count in enumerate(again, start=1)
            if bool(count) != asked
        ),
        "backward passes compute each layer again" if asked else "no backward pass computes a layer again",
    )


def _rates(found: Trajectory) -> float:
    steps = [step for epoch in found.epochs for step in epoch.steps]
    if len(steps) != len(found.seen.updates):
        return float("nan")
    return largest(
        [
            abs(rate - step.learning_rate) / found.train.learning_rate
            for step, update in zip(steps, found.seen.updates, strict=True)
            for rate in update.rates
        ]
    )


def _parameters(found: Trajectory) -> tuple[str, float]:
    """The largest error of a tensor after a step, over its change so far, and which tensor has it."""
    steps = [step for epoch in found.epochs for step in epoch.steps]
    errors: list[tuple[float, str]] = []
    moved = 0.0
    rounding = frozenset[str]().union(*(step.rounding for step in steps))
    for number, (step, update) in enumerate(zip(steps, found.seen.updates, strict=False), start=1):
        moved += step.learning_rate
        for name, parameter in (
            (name, each) for name, each in step.parameters.items() if name not in rounding
        ):
            rows = found.used.get(name, slice(None))
            expected, given = parameter[rows], update.parameters.get(name)
            if given is None or given.shape != expected.shape:
                return f"after step {number} there is no {name} of that shape:", float("nan")
            error = change_error(given, expected, found.start[name][rows], moved)
            errors.append((error, f"{name} at step {number}"))
    if len(steps) != len(found.seen.updates) or any(error != error for error, _ in errors):  # noqa: PLR0124 - NaN
        return "not comparable:", float("nan")
    worst = max(errors)
    return f"largest error over a tensor's change, {worst[1]}:", worst[0]


def change_error(given: torch.Tensor, expected: torch.Tensor, start: torch.Tensor, moved: float) -> float:
    """Return the error of a parameter over its change since the start; `moved` is the sum of the rates."""
    # Tensors whose gradient is zero by symmetry, such as keys' biases, move by rounding alone.
    floor = 0.01 * moved * expected.numel() ** 0.5 or 1e-6
    return float((given - expected).norm()) / max(float((expected - start).norm()), floor)


def _evaluation_problems(
    given: Sequence[tuple[int, ...]], expected: Sequence[tuple[int, ...]], found: Trajectory
) -> Iterator[str]:
    if sorted(given) != list(expected):
        train = {row_of(found.tokens.train, row) for row in range(len(found.tokens.train))}
        strangers = sum(row in train for row in given)
        yield f"{len(given)} rows were evaluated, {len(expected)} are due; {strangers} are training rows"
    if any(each.modes != {False} for each in found.seen.evaluation):
        yield "an evaluation pass ran in training mode"
    ends = np.cumsum([sum(len(step.batches) for step in epoch.steps) for epoch in found.epochs]).tolist()
    evaluated = [
        sum(before.trains for before in found.seen.passes[:at])
        for at, each in enumerate(found.seen.passes)
        if not each.trains
    ]
    if sorted(set(evaluated)) != ends:
        yield f"evaluations after {sorted(set(evaluated))} training passes, due after {ends}"
