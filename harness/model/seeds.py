"""Seeds of a trial: one number for every role, or a number for each of initial weights, order and dropout."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final, Literal, get_args

from pydantic import ConfigDict, Field

from harness.model.frozen import Frozen

SeedNumber = Annotated[int, Field(ge=0, le=2**32 - 1)]


class SeedRoles(Frozen):
    """One seed for each role: initial weights, order of examples, dropout. Missing roles take that of `init`.

    Numbers and roles have one order, so that seeds of both kinds can be sorted.
    """

    model_config = ConfigDict(title="Seed")

    init: SeedNumber
    order: SeedNumber | None = None
    dropout: SeedNumber | None = None

    def __str__(self) -> str:
        given = (f"{role}: {number_of(self, role)}" for role in ROLES)
        return f"{{{', '.join(given)}}}"

    def __lt__(self, other: Seed) -> bool:
        return _numbers(self) < _numbers(other)

    def __gt__(self, other: Seed) -> bool:
        return _numbers(self) > _numbers(other)


Seed = SeedNumber | SeedRoles
"""The seed of a trial: one number for every role, or a number for each role."""

SeedRole = Literal["init", "order", "dropout"]

ROLES: Final[tuple[SeedRole, ...]] = get_args(SeedRole)


def number_of(seed: Seed, role: SeedRole) -> int:
    """Return the number that seeds one role.

    >>> number_of(3, "order"), number_of(SeedRoles(init=1, order=2), "order")
    (3, 2)
    """
    if isinstance(seed, int):
        return seed
    number: int | None = getattr(seed, role)
    return seed.init if number is None else number


def _numbers(seed: Seed) -> tuple[int, ...]:
    return tuple(number_of(seed, role) for role in ROLES)


def _shortest(seed: Seed) -> Seed:
    """Return equal roles as their number, so that they are the same trial, and others in full."""
    numbers = _numbers(seed)
    if len(set(numbers)) == 1:
        return numbers[0]
    return SeedRoles(**dict(zip(ROLES, numbers, strict=True)))


def repeated_roles(seeds: Collection[Seed]) -> dict[str, int]:
    """Return the roles that have fewer different numbers than there are seeds, with the count of these.

    >>> repeated_roles([SeedRoles(init=0, order=1, dropout=1), SeedRoles(init=0, order=2, dropout=2)])
    {'init': 1}
    """
    columns = zip(*map(_numbers, seeds), strict=True)
    counts = {role: len(set(column)) for role, column in zip(ROLES, columns, strict=False)}
    return {role: count for role, count in counts.items() if count < len(seeds)}
