"""Repeated looks at growing data: the error that each look may spend, and p-values valid over all looks.

A run that stops as soon as a verdict appears tests the same rows several times, and each test is a further
chance of a false alarm. The spending function of Lan and DeMets (1983, Biometrika 70:659) fixes in advance
how much of the error level is spent by each fraction of the seeds; the boundary of a look follows from it and
the earlier boundaries by numerical integration (Armitage, McPherson and Rowe 1969). The function is the one
that Lan and DeMets give for boundaries of Pocock's type. One of O'Brien and Fleming's type spends almost
nothing in the first half, where a run of few seeds is meant to end.

The repeated p-value of a look (Jennison and Turnbull 2000, chapter 9) is the level at which its boundary is
reached. The smallest one so far is a valid p-value at every look, however the run ends, and Holm's procedure
on such p-values is valid over rows and looks (Ye et al. 2013, Statistics in Medicine 32:1112).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.model.looks import FEWEST_SEEDS

Sides = Literal[1, 2]
Floats = NDArray[np.floating[Any]]

BOUNDARY: Final = "Pocock-type spending (Lan-DeMets)"

_NODES: Final = 64
# Beyond this many standard errors a normal variable is not found.
_FARTHEST: Final = 9.0
_HALVINGS: Final = 60
_NOT_COUNTED: Final = 2.7
# Levels between which repeated p-values are interpolated; the smallest one is their lower bound.
_GRID: Final = np.geomspace(1e-9, 0.9, 120)


def look_sizes(most: int) -> tuple[int, ...]:
    """Return the number of seeds at each look: one more at a time, from eight on a quarter more.

    >>> look_sizes(20)
    (3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 20)
    """
    sizes = [min(FEWEST_SEEDS, most)]
    while sizes[-1] < most:
        sizes.append(min(sizes[-1] + max(1, sizes[-1] // 4), most))
    return tuple(sizes)


def spent(fraction: float, alpha: float) -> float:
    """Return the error that may be spent up to this fraction of the seeds, `alpha` at the last look.

    >>> round(spent(0.5, 0.05), 4)
    0.031
    """
    return alpha * math.log1p((math.e - 1) * min(fraction, 1.0))


def levels(fractions: tuple[float, ...], spending: tuple[float, ...], sides: Sides) -> tuple[float, ...]:
    """Return the nominal level of each look: its test rejects if its own p is at most this.

    Args:
        fractions: the share of the information at each look, increasing, at most 1.
        spending: the error spent up to each look.
        sides: 2 for a symmetric test, whose p and spending are two-sided; 1 for an upper one.

    >>> [round(level, 4) for level in levels((0.5, 1.0), (0.031, 0.05), 2)]
    [0.031, 0.0277]
    """
    found = []
    nodes: Floats = np.zeros(1)
    masses: Floats = np.ones(1)
    before = (0.0, 0.0)
    for fraction, total in zip(fractions, spending, strict=True):
        step = math.sqrt(fraction - before[0])
        bound = _bound(nodes, masses, step, total - before[1], sides)
        found.append(sides * float(special.ndtr(-bound / math.sqrt(fraction))))
        nodes, masses = _continued(nodes, masses, step, bound, fraction, sides)
        before = (fraction, total)
    return tuple(found)


def _bound(nodes: Floats, masses: Floats, step: float, error: float, sides: Sides) -> float:
    """Return the bound that the score, whose density is given before the step, exceeds with this error."""
    low, high = (0.0 if sides == 2 else -_FARTHEST), 2 * _FARTHEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        beyond = special.ndtr((nodes - middle) / step)
        if sides == 2:
            beyond = beyond + special.ndtr((-middle - nodes) / step)
        low, high = (middle, high) if float(masses @ beyond) > error else (low, middle)
    return high


def _continued(
    nodes: Floats, masses: Floats, step: float, bound: float, fraction: float, sides: Sides
) -> tuple[Floats, Floats]:
    """Return the density of the score among runs that go on, as masses at the nodes of a quadrature."""
    far = _FARTHEST * math.sqrt(fraction)
    low, high = (-min(bound, far) if sides == 2 else -far), min(bound, far)
    shares, weights = _quadrature()
    places = low + (high - low) * shares
    kernel = np.exp(-(((places[:, None] - nodes) / step) ** 2) / 2) / (step * math.sqrt(2 * math.pi))
    return places, (kernel @ masses) * weights * (high - low)


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Floats, Floats]:
    """Return the nodes and weights of Gauss and Legendre on the interval from 0 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return (nodes + 1) / 2, weights / 2


def information(sizes: tuple[int, ...]) -> tuple[float, ...]:
    """Return the share of the information at each look, of these numbers of seeds.

    Boundaries are those of normal statistics. The t statistics of a few seeds correlate less from look to
    look, so that the same boundaries would spend up to a fifth more than `alpha`. Counting the information
    from 2.7 seeds on lowers the assumed correlation; simulated t tests then spend 83 to 100 % of 5 %.
    """
    return tuple((size - _NOT_COUNTED) / (sizes[-1] - _NOT_COUNTED) for size in sizes)


@lru_cache(maxsize=256)
def nominal_level(sizes: tuple[int, ...], look: int, alpha: float, sides: Sides) -> float:
    """Return the level of the test at a look, from 0, of a procedure with error `alpha` over all looks.

    `sizes` are the numbers of seeds at all looks. The error is spent by the share of the seeds.
    """
    return _levels(sizes, alpha, sides)[look]


def _levels(sizes: tuple[int, ...], alpha: float, sides: Sides) -> tuple[float, ...]:
    return levels(information(sizes), tuple(spent(size / sizes[-1], alpha) for size in sizes), sides)


@lru_cache(maxsize=16)
def _level_table(sizes: tuple[int, ...], sides: Sides) -> Floats:
    """Return the nominal levels at each of `_GRID`, (levels, looks)."""
    return np.array([_levels(sizes, float(alpha), sides) for alpha in _GRID])


def repeated_p(p: float, sizes: tuple[int, ...], look: int, sides: Sides) -> float:
    """Return the level over all looks at which the test of this look, from 0, with this p just rejects.

    It is at least 1e-9, and 1 if it would exceed 0.9.
    """
    column = _level_table(sizes, sides)[:, look]
    if p > column[-1]:
        return 1.0
    if p <= column[0]:
        return float(_GRID[0])
    return float(np.exp(np.interp(math.log(p), np.log(column), np.log(_GRID))))
