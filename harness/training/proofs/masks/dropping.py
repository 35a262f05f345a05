"""A training with dropout: every mask at every site, in every pass of every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from harness.model.proof import TrainingCheck
from harness.training.proofs.findings import largest, none_of, within
from harness.training.proofs.masks.drawn_masks import (
    Mask,
    correlated_masks,
    correlated_sites,
    correlation,
    scale_error,
    share_error,
)
from harness.training.proofs.masks.dropout_sites import Dropped

# Rounding of a rate to 1 / 65536 changes the scale by 1e-5. Finding attention's masks from its results
# changes a factor by up to 1e-3.
SCALE_LIMIT: Final = 1e-4
ATTENTION_SCALE_LIMIT: Final = 1e-2
# Found by the pseudo-inverse in fp32, correct masks give 1e-4 at most.
GRADIENT_LIMIT: Final = 1e-2
# Two roundings to bf16, of the factor and of the product.
_REDUCED_LIMIT: Final = 2e-2
# Hidden states of eight rows of 128 tokens in BERT-large. By chance a stretch of 512 elements comes again
# with a probability below 1e-60.
_LARGE_SHAPE: Final = (8, 128, 1024)
_LARGE_MASKS: Final = 4
_STRETCH: Final = 512


@dataclass(frozen=True, slots=True)
class Dropping:
    """The masks of a training, the rate due at each module and attention, and the passes of each epoch."""

    dropped: Dropped
    modules: Mapping[str, float]
    attention: Mapping[str, float]
    passes: Sequence[int]

    @property
    def rates(self) -> dict[str, float]:
        """The rate that each site is due."""
        return {**self.modules, **self.attention}


def check_dropout(found: Dropping) -> Iterator[TrainingCheck]:
    """Where, how often and how much is dropped, through which gradients, and what masks share."""
    masks, rates = found.dropped.masks, found.rates
    yield none_of(
        "dropout sites",
        _missing(found),
        f"{len(rates)} sites drew a mask in each of {sum(found.passes)} training passes",
    )
    sites = [(masks[site], rate) for site, rate in rates.items() if site in masks]
    shares = [share_error(drawn, rate) for drawn, rate in sites]
    worst = largest([error / limit if limit else float("nan") for error, limit in shares])
    yield within("dropout rates", "largest deviation from a rate, over seven standard errors:", worst, 1.0)
    for name, due, limit in (
        ("dropout scale", found.modules, SCALE_LIMIT),
        ("dropout scale of attention", found.attention, ATTENTION_SCALE_LIMIT),
    ):
        if due:
            errors = [scale_error(masks[site], rate) for site, rate in due.items() if site in masks]
            yield within(name, "largest error of a factor", largest(errors), limit)
    if not found.dropped.compiled:
        gradient = largest([found.dropped.gradient_errors[site] for site in rates if site in masks])
        yield within(
            "dropout gradients", "largest error of a gradient through a mask", gradient, GRADIENT_LIMIT
        )
    yield none_of(
        "dropout independence",
        chain(
            chain.from_iterable(correlated_masks(drawn, rate) for drawn, rate in sites),
            chain.from_iterable(map(correlated_sites, _by_pass(masks))),
        ),
        "no two passes, sites, rows, heads or tokens share a mask",
    )
    changed = sorted(found.dropped.changed_in_evaluation)
    yield none_of(
        "dropout in evaluation",
        (f"{site} changes what it is given" for site in changed),
        "no site changes what it is given",
    )


@torch.no_grad()
def check_repetition(model: nn.Module, device: torch.device) -> Iterator[TrainingCheck]:
    """Draw as many elements as some layers of a large model do, and look for the first ones among the others.

    A generator whose numbers come again after a million shows in no training of a small model.
    """
    modules = [each for each in model.modules() if isinstance(each, nn.Dropout) and each.p and each.training]
    if not modules:
        return
    ones = torch.ones(_LARGE_SHAPE, device=device)
    drawn = b"".join((modules[0](ones) == 0).cpu().numpy().tobytes() for _ in range(_LARGE_MASKS))
    again = drawn.find(drawn[:_STRETCH], 1)
    yield none_of(
        "dropout repetition",
        [] if again < 0 else [f"the first {_STRETCH} elements of a mask come again after {again:,}"],
        f"no stretch of {_LARGE_MASKS} masks of {ones.numel():,} elements repeats their beginning",
    )


def check_reduced_dropout(precision: str, dropped: Dropped, rates: Mapping[str, float]) -> TrainingCheck:
    """Rate, scale and gradients of dropout modules in a reduced precision."""
    problems = []
    for site, rate in rates.items():
        drawn = dropped.masks.get(site, [])
        error, limit = share_error(drawn, rate) if drawn else (1.0, 0.0)
        if error > limit:
            problems.append(f"{site} drops {error:.1%} more or less than its rate")
        elif scale_error(drawn, rate) > _REDUCED_LIMIT:
            problems.append(f"{site} scales by a factor that is {scale_error(drawn, rate):.1e} off")
        elif not dropped.compiled and dropped.gradient_errors[site] > _REDUCED_LIMIT:
            problems.append(f"the gradient through {site} is {dropped.gradient_errors[site]:.1e} off")
    return none_of(f"{precision} dropout", problems, f"{len(rates)} modules drop at their rates")


def check_seeds_of_dropout(first: Dropped, again: Dropped, others: Sequence[Dropped]) -> TrainingCheck:
    """The masks of a first pass: equal for the same seed, independent between any two others."""
    problems = []
    for site, masks in first.masks.items():
        if not _same_first(masks, again.masks.get(site, [])):
            problems.append(f"{site} drops other elements with the same seed")
        drawn = [each.masks[site][0] for each in (first, *others) if each.masks.get(site)]
        for one, other in combinations(drawn, 2):
            if one.factors.ndim != other.factors.ndim:
                continue
            found, count = correlation(one.dropped, other.dropped)
            if count and abs(found) > 7 / count**0.5 + 20 / count:
                problems.append(f"{site} drops the same elements with another seed")
    return none_of("seeds of dropout", problems, "masks repeat for a seed and differ between seeds")


def same_masks(one: Dropped, other: Dropped) -> bool:
    """Return whether the first masks of all sites are equal where both are known.

    A mask is not known where its site is given zero, which depends on the weights before it.
    """
    return one.masks.keys() == other.masks.keys() and all(
        _agree(masks[0].dropped, other.masks[site][0].dropped) for site, masks in one.masks.items()
    )


def _agree(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    if one.shape != other.shape:
        return False
    known = ~(np.isnan(one) | np.isnan(other))
    return bool(known.any()) and np.array_equal(one[known], other[known])


def _same_first(masks: Sequence[Mask], others: Sequence[Mask]) -> bool:
    return bool(others) and np.array_equal(masks[0].dropped, others[0].dropped, equal_nan=True)


def _missing(found: Dropping) -> Iterator[str]:
    for site in found.rates:
        drawn = found.dropped.masks.get(site, [])
        for epoch, passes in enumerate(found.passes, start=1):
            # A mask that keeps everything is none.
            active = sum(mask.epoch == epoch and bool(np.nansum(mask.dropped)) for mask in drawn)
            if active < passes and not _may_keep_all(drawn, found.rates[site]):
                yield f"{site} dropped in {active} of {passes} passes of epoch {epoch}"
            elif not active:
                yield f"{site} dropped nothing in epoch {epoch}"


def _may_keep_all(drawn: Sequence[Mask], rate: float) -> bool:
    """Whether the smallest of some masks may keep everything by chance, once in a million."""
    smallest = min((int((~np.isnan(mask.factors)).sum()) for mask in drawn), default=10**9)
    return (1 - rate) ** smallest > 1e-6


def _by_pass(masks: Mapping[str, Sequence[Mask]]) -> Iterator[list[Mask]]:
    """The masks of all sites of each pass."""
    passes: dict[tuple[int, int], list[Mask]] = {}
    for mask in chain.from_iterable(masks.values()):
        passes.setdefault((mask.epoch, mask.batch), []).append(mask)
    yield from passes.values()
