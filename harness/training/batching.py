"""Which rows form a batch, in which order: the same for every engine, from the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.model.values import Padding, PaddingStrategy

Lengths = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]

OF_TRAINER: Final[frozenset[PaddingStrategy]] = frozenset({"group_by_length", "batch_rebalance"})
"""Strategies that are samplers of transformers' `Trainer`."""

UNPADDED_MULTIPLE: Final = 16
"""`unpadded` fills its one long row up to a multiple of this many tokens.

oneDNN compiles a kernel for every new shape in bf16, tenths of a millisecond each: with the exact number of
tokens nearly every batch is a new one, which took a third of a small model's step.
"""

LEAST_TIMED: Final = 24
MOST_TIMED: Final = 64
_SHARE_TIMED: Final = 1 / 12

# A window of batches is sorted by length and cut; as many as transformers' group_by_length takes.
_WINDOW_BATCHES = 50


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of the tokenised split, their tokens, and the tokens that the linear layers compute for them.

    `ranks` devices take the rows together.
    """

    rows: Rows
    real_tokens: int
    computed_tokens: int
    ranks: int = 1

    def share_of(self, rank: int) -> Rows:
        """The rows of one rank: consecutive, and as many as any other's or one more; perhaps none."""
        return _shares(self.rows, self.ranks)[rank]


def plan_epoch(  # noqa: PLR0913 - what an order depends on
    lengths: Lengths,
    batch_size: int,
    padding: Padding,
    *,
    longest: int,
    seed: int,
    epoch: int,
    accumulated: int = 1,
    ranks: int = 1,
) -> list[Batch]:
    """The batches of one epoch.

    Args:
        lengths: tokens of every example, shape (N,).
        batch_size: examples a batch; the last batch may be smaller.
        padding: the strategy; only `bucketed` and `Trainer`'s own samplers change which rows meet in a batch.
        longest: tokens of the longest example of the data set, the length of `static` without one.
        seed: of the trial; `epoch` counts from 0, and both together fix the order.
        epoch: see above.
        accumulated: batches an optimizer step, which `Trainer`'s own samplers plan together.
        ranks: devices that share every batch, each padding its own rows.
    """
    if padding.strategy in OF_TRAINER:
        # Analysis imports this module, and must not import torch.
        from harness.training.sampling import sampled_epoch  # noqa: PLC0415

        groups = sampled_epoch(
            lengths, batch_size, padding.strategy, accumulated=accumulated, seed=seed, epoch=epoch
        )
    else:
        order = np.random.default_rng([seed, epoch]).permutation(len(lengths))
        groups = _group(order, lengths, batch_size, padding.strategy, seed=seed, epoch=epoch)
    return [make_batch(rows, lengths, padding, longest, ranks) for rows in groups]


def _group(
    order: Rows, lengths: Lengths, batch_size: int, strategy: PaddingStrategy, *, seed: int, epoch: int
) -> list[Rows]:
    if strategy != "bucketed":
        return _cut(order, batch_size)
    windows = _cut(order, batch_size * _WINDOW_BATCHES)
    batches = [
        batch
        for window in windows
        for batch in _cut(window[np.argsort(-lengths[window], kind="stable")], batch_size)
    ]
    # Shuffled once more: a training run must not see long examples first in every window.
    return [batches[i] for i in np.random.default_rng([seed, epoch, 1]).permutation(len(batches))]


def _cut(rows: Rows, size: int) -> list[Rows]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def make_batch(rows: Rows, lengths: Lengths, padding: Padding, longest: int, ranks: int = 1) -> Batch:
    """Return the batch of these rows; `lengths` are the tokens of every example, shape (N,)."""
    shares = [lengths[share] for share in _shares(rows, ranks) if len(share)]
    computed = sum(_computed_tokens(share, padding, longest) for share in shares)
    real = int(lengths[rows].sum())
    return Batch(rows, real, computed, ranks)


@dataclass(frozen=True, slots=True)
class StepWindow:
    """Optimizer steps that represent those of a whole training: `warm_up` ones, then the timed ones."""

    warm_up: tuple[Sequence[Batch], ...]
    timed: tuple[Sequence[Batch], ...]


def step_window(steps: Sequence[Sequence[Batch]], warm_up: int) -> StepWindow:
    """Choose the steps of a short measurement of a training's speed, in the order of the training.

    Each timed step is one of a group with about the same work, chosen so that the mean work of all timed
    steps is that of all steps. One step of each shape among them runs before, as in a long training nearly
    every shape has been met already; and first of all the largest step, which needs the most memory.

    Args:
        steps: of the whole training, each with its batches.
        warm_up: the least number of steps before the timed ones.
    """
    full = max(len(step) for step in steps)
    whole = [place for place, step in enumerate(steps) if len(step) == full]
    by_work = sorted(whole, key=lambda place: (*_work(steps[place]), place))
    count = min(len(whole), max(LEAST_TIMED, min(MOST_TIMED, int(len(whole) * _SHARE_TIMED))))
    # Groups of one step more than others lie evenly among these, so that no kind of work counts for more.
    edges = [place * len(whole) // count for place in range(1, count)]
    groups = np.split(np.array(by_work), edges)
    timed = tuple(steps[place] for place in sorted(_of_mean_work([_work(each) for each in steps], groups)))
    shapes = {_shape(step): step for step in timed}
    before = [steps[by_work[-1]], *shapes.values()]
    before += [timed[place % count] for place in range(warm_up - len(before))]
    return StepWindow(tuple(before), timed)


def _of_mean_work(work: Sequence[tuple[int, int]], groups: Sequence[Rows]) -> Iterator[int]:
    """Yield a place of each group, so that the sum of their work stays next to their share of all work."""
    table = np.array(work, dtype=float)
    scale = table.mean(axis=0)
    share = len(groups) / sum(map(len, groups))
    missing = np.zeros(2)
    for group in reversed(groups):
        missing += table[group].sum(axis=0) * share
        nearest = np.abs((missing - table[group]) / scale).sum(axis=1).argmin()
        missing -= table[group[nearest]]
        yield int(group[nearest])


def _work(step: Sequence[Batch]) -> tuple[int, int]:
    return sum(batch.computed_tokens for batch in step), sum(batch.real_tokens for batch in step)


def _shape(step: Sequence[Batch]) -> tuple[tuple[int, int], ...]:
    return tuple((len(batch.rows), batch.computed_tokens) for batch in step)


def _shares(rows: Rows, ranks: int) -> list[Rows]:
    return [rows] if ranks == 1 else np.array_split(rows, ranks)


def _computed_tokens(lengths: Lengths, padding: Padding, longest: int) -> int:
    if padding.strategy == "unpadded":
        return -(-int(lengths.sum()) // UNPADDED_MULTIPLE) * UNPADDED_MULTIPLE
    return len(lengths) * padded_length(int(lengths.max()), padding, longest)


def padded_length(longest_row: int, padding: Padding, longest: int) -> int:
    """The length that the rows of a batch are padded to, in tokens."""
    length = (padding.length or longest) if padding.strategy == "static" else longest_row
    return -(-length // padding.multiple_of) * padding.multiple_of if padding.multiple_of else length
