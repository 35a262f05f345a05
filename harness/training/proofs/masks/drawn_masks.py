"""Dropout masks that were drawn, and their possible defects: a wrong rate or scale, and correlation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Errors by chance beyond this many standard errors come once in 10^11 comparisons; a proof makes thousands.
STANDARD_ERRORS = 7.0
_FEWEST = 64


@dataclass(frozen=True, slots=True)
class Mask:
    """One mask of one site: `factors` are result over input, NaN where that cannot be told.

    `epoch` and `batch` count from 1 and 0. Axes are rows, then tokens and channels for hidden states; and
    rows, heads, queries and keys for attention.
    """

    site: str
    epoch: int
    batch: int
    factors: Array

    @property
    def dropped(self) -> Array:
        """1 where dropped, 0 where kept, NaN where that cannot be told; as `factors`."""
        return np.where(np.isnan(self.factors), np.nan, np.abs(self.factors) < 0.5)


def share_error(masks: Iterable[Mask], rate: float) -> tuple[float, float]:
    """How far the dropped share of some masks is from the rate, and how far it may be by chance."""
    values = np.concatenate([mask.dropped.ravel() for mask in masks])
    values = values[~np.isnan(values)]
    if not len(values):
        return 1.0, 0.0
    return abs(float(values.mean()) - rate), STANDARD_ERRORS * (rate * (1 - rate) / len(values)) ** 0.5 + 1e-4


def scale_error(masks: Iterable[Mask], rate: float) -> float:
    """The largest error of a factor: 0 where dropped, 1 / (1 - rate) where kept, which keeps the mean."""
    errors = [0.0]
    for mask in masks:
        errors += np.abs(mask.factors[mask.dropped == 1]).tolist()
        errors += np.abs(mask.factors[mask.dropped == 0] * (1 - rate) - 1).tolist()
    return max(errors)


def correlated_masks(masks: Iterable[Mask], rate: float) -> Iterator[str]:
    """Name masks correlated beyond chance: neighbours in a mask, and one site in two passes."""
    found = list(masks)
    for mask in found:
        for axis in range(mask.factors.ndim):
            if mask.factors.shape[axis] > 1 and _related(*_neighbours(mask.dropped, axis), rate):
                yield f"{mask.site}: along axis {axis} in epoch {mask.epoch}, batch {mask.batch}"
    for one, other in combinations(found, 2):
        if _related(one.dropped, other.dropped, rate):
            yield (
                f"{one.site}: in batch {one.batch} of epoch {one.epoch} "
                f"and batch {other.batch} of epoch {other.epoch}"
            )


def correlated_sites(masks: Iterable[Mask]) -> Iterator[str]:
    """Name the sites whose masks in one pass are correlated beyond chance; they may have unequal rates.

    Masks of hidden states and of attention are compared in the order in which their elements are drawn: two
    generators with one seed show there.
    """
    for one, other in combinations(masks, 2):
        pair = (one.dropped, other.dropped)
        if one.factors.ndim != other.factors.ndim:
            pair = (pair[0].ravel(), pair[1].ravel())
        if _related(*pair):
            yield f"{one.site} and {other.site} in epoch {one.epoch}, batch {one.batch}"


def correlation(one: Array, other: Array, rate: float | None = None) -> tuple[float, int]:
    """The correlation of two masks over their common part, and over how many elements."""
    shape = tuple(slice(min(sizes)) for sizes in zip(one.shape, other.shape, strict=True))
    left, right = one[shape].ravel(), other[shape].ravel()
    known = ~(np.isnan(left) | np.isnan(right))
    left, right = left[known], right[known]
    if len(left) < _FEWEST:
        return 0.0, 0
    left_mean, right_mean = (left.mean(), right.mean()) if rate is None else (rate, rate)
    spread = np.sqrt(left_mean * (1 - left_mean) * right_mean * (1 - right_mean))
    if not spread:
        return 0.0, 0
    return float(((left - left_mean) * (right - right_mean)).mean() / spread), len(left)


def _related(one: Array, other: Array, rate: float | None = None) -> bool:
    found, count = correlation(one, other, rate)
    # A product of rare events has a longer tail than its standard error tells: small samples get more room.
    return count > 0 and abs(found) > STANDARD_ERRORS / count**0.5 + 20 / count


def _neighbours(mask: Array, axis: int) -> tuple[Array, Array]:
    moved = np.moveaxis(mask, axis, 0)
    return moved[:-1], moved[1:]
