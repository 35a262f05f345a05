"""The batches of `Trainer`'s own samplers, planned with transformers' own code before a training.

`group_by_length` draws from torch's generator, which a training without other draws on the host leaves alone
between epochs: the plan of an epoch repeats the draws of those before it from the seed. `batch_rebalance`
gets no seed from `Trainer`, so that its order is the same for every seed.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from harness.model.job import TrialStoppedError
from harness.model.values import PaddingStrategy
from harness.training.batching import Lengths, Rows

_SAMPLERS: Final[dict[PaddingStrategy, str]] = {
    "group_by_length": "LengthGroupedSampler",
    "batch_rebalance": "BatchRebalanceSampler",
}


def sampled_epoch(
    lengths: Lengths, batch_size: int, strategy: PaddingStrategy, *, accumulated: int, seed: int, epoch: int
) -> list[Rows]:
    """The rows of each batch of an epoch, as the dataloader of a `Trainer` with that strategy gives them.

    Args:
        lengths: tokens of every example, shape (N,).
        batch_size: examples a batch; `batch_rebalance` moves examples between the batches of a step.
        strategy: `group_by_length` or `batch_rebalance`.
        accumulated: batches an optimizer step.
        seed: of the trial.
        epoch: counted from 0.

    Raises:
        TrialStoppedError: `unavailable`, for a release of transformers without the sampler.
    """
    sampler_class = _sampler(strategy)
    loader: DataLoader[int]
    rows = cast("Dataset[int]", range(len(lengths)))
    if strategy == "batch_rebalance":
        sampler = sampler_class(
            lengths=lengths.tolist(),
            effective_batch_size=batch_size * accumulated,
            dp_size=1,
            grad_accum=accumulated,
            drop_last=False,
        )
        sampler.set_epoch(epoch)
        loader = DataLoader(rows, batch_sampler=sampler, collate_fn=_as_rows)
        with _seeded(seed):
            return list(loader)
    grouped: Sampler[int] = sampler_class(batch_size * accumulated, lengths=lengths.tolist())
    loader = DataLoader(rows, batch_size=batch_size, sampler=grouped, collate_fn=_as_rows)
    with _seeded(seed):
        for _ in range(epoch):
            list(loader)
        return list(loader)


def _sampler(strategy: PaddingStrategy) -> Any:
    name = _SAMPLERS[strategy]
    try:
        return getattr(importlib.import_module("transformers.trainer_pt_utils"), name)
    except AttributeError as error:
        raise TrialStoppedError(
            "unavailable",
            f"the installed transformers has no {name}, which padding: {strategy} uses",
            hint="install a newer transformers, or use padding: bucketed",
        ) from error


def _as_rows(rows: list[int]) -> Rows:
    return np.asarray(rows, dtype=np.int64)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's generator of the CPU inside, and restore its state after."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
