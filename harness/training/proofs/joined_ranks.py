"""A training by several ranks as one: their passes put together, and what they must have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import torch

from harness.model.proof import TrainingCheck
from harness.training import ranks
from harness.training.proofs.findings import none_of
from harness.training.proofs.masks.drawn_masks import correlation
from harness.training.proofs.masks.dropout_sites import Dropped
from harness.training.proofs.reference_batches import Batch, share_out
from harness.training.proofs.small_trainings import BrokenTrainingError
from harness.training.proofs.watching import Pass, Seen


def put_together(every: Sequence[Seen], batches: Sequence[Batch]) -> Seen:
    """The passes of all ranks over each batch as one pass, and rank 0's evaluations and optimizer steps.

    Args:
        every: what each rank ran.
        batches: of the reference, whose shares tell which ranks have rows of a batch.

    Raises:
        BrokenTrainingError: A rank ran other numbers of passes than there are shares for it.
    """
    trained = [iter(seen.training) for seen in every]
    passes = []
    for batch in batches:
        shares = share_out(batch, len(every))
        passes.append(_one([_next(trained[rank], rank) for rank, share in enumerate(shares) if share]))
    for rank, left in enumerate(trained):
        if next(left, None) is not None:
            raise BrokenTrainingError(f"rank {rank} ran more passes than there are batches for it")
    whole = iter(passes)
    passes = [next(whole) if each.trains else each for each in every[0].passes]
    return Seen(passes, every[0].updates, every[0].linear)


def _next(passes: Iterator[Pass], rank: int) -> Pass:
    found = next(passes, None)
    if found is None:
        raise BrokenTrainingError(f"rank {rank} ran fewer passes than there are batches for it")
    return found


def _one(shares: Sequence[Pass]) -> Pass:
    """The pass over the rows of all shares, its loss the mean over these rows."""
    weights = [len(share.rows) for share in shares]
    losses = [share.loss for share in shares if share.loss is not None]
    loss = None
    if len(losses) == len(shares):
        weighted = [each * weight for each, weight in zip(losses, weights, strict=True)]
        loss = torch.stack(weighted).sum() / sum(weights)
    return Pass(
        rows=tuple(row for share in shares for row in share.rows),
        trains=True,
        modes=frozenset().union(*(share.modes for share in shares)),
        dtypes=frozenset().union(*(share.dtypes for share in shares)),
        computed=sum(share.computed for share in shares),
        product_error=max(share.product_error for share in shares),
        labels=tuple(label for share in shares for label in share.labels or ()),
        loss=loss,
        logits=torch.cat([share.logits for share in shares]),
        began=shares[0].began,
        ended=shares[0].ended,
    )


def check_equal(name: str, every: Sequence[Seen]) -> TrainingCheck:
    """Parameters after each optimizer step: equal to the last bit in all ranks."""
    return none_of(
        f"ranks{name}",
        _unequal(every),
        f"{len(every)} ranks have the same parameters after each of {len(every[0].updates)} steps",
    )


def _unequal(every: Sequence[Seen]) -> Iterator[str]:
    first = every[0].updates
    for rank, seen in enumerate(every[1:], start=1):
        if len(seen.updates) != len(first):
            yield f"rank {rank} took {len(seen.updates)} optimizer steps, rank 0 {len(first)}"
        for step, (one, other) in enumerate(zip(first, seen.updates, strict=False), start=1):
            apart = [
                name
                for name, given in one.parameters.items()
                if name not in other.parameters or not torch.equal(given, other.parameters[name])
            ]
            if apart:
                yield f"rank {rank} has another {apart[0]} than rank 0 after step {step}"


def check_apart(dropped: Dropped) -> TrainingCheck:
    """The masks of the ranks in their first pass: independent, as those of the rows of one batch are.

    Every rank has to ask.
    """
    every = ranks.gather({site: masks[0].dropped for site, masks in dropped.masks.items() if masks})
    problems = []
    for one, other in combinations(range(len(every)), 2):
        for site in every[one].keys() & every[other].keys():
            found, count = correlation(every[one][site], every[other][site])
            if count and abs(found) > 7 / count**0.5 + 20 / count:
                problems.append(f"{site} drops the same elements in ranks {one} and {other}")
    return none_of("dropout of ranks", sorted(problems), "the ranks drop different elements")
