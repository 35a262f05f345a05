"""Seeds of a training: the same seed repeats it, and each seed of a role changes its own part alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Final

import torch

from harness.model.proof import TrainingCheck
from harness.model.seeds import ROLES, Seed, SeedRole, SeedRoles, number_of
from harness.training.proofs.findings import none_of
from harness.training.proofs.masks.dropping import check_seeds_of_dropout, same_masks
from harness.training.proofs.reference import Tensors
from harness.training.proofs.small_trainings import Run

# The least common multiple of 1 to 16 and 65536.
_PERIOD: Final = 2**16 * 45045

Rows = tuple[tuple[int, ...], ...]
"""The token ids of each row of a batch."""

# As for the parameters that a trajectory begins with.
_EQUAL: Final = 1e-7

_PART_OF: Final[Mapping[SeedRole, str]] = {
    "init": "the initial weights",
    "order": "the order of examples",
    "dropout": "the masks of dropout",
}


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a training from a seed has to begin: its parameters, and the rows of the first batches.

    Parameters that an adapter adds are not among them; of several ranks no rows are known.
    """

    parameters: Tensors
    rows: Sequence[Rows]


def check_seeds(
    first: Run,
    seed: Seed,
    train: Callable[[Seed], Run],
    beginning: Callable[[Seed], Beginning],
    *,
    one_order: bool,
) -> Iterator[TrainingCheck]:
    """Compare a training with one-step trainings from its seed, from two others, and from changed roles.

    Args:
        first: the training from `seed`, with dropout.
        seed: the seed of the trial.
        train: the same training from another seed, with one step alone.
        beginning: the reference's beginning with a seed.
        one_order: whether `Trainer` gives every seed the same order of examples.
    """
    seeds = (seed, *_other_whole_seeds(seed))
    again, *others = map(train, seeds)
    yield check_seeds_of_dropout(first.dropped, again.dropped, [other.dropped for other in others])
    yield none_of(
        "seeds of head and order",
        chain(
            _seed_problems(first, again, others, one_order=one_order),
            *(
                _begins_otherwise(run, beginning(each))
                for run, each in zip((again, *others), seeds, strict=True)
            ),
        ),
        "the head and the order repeat for a seed, differ between seeds, and are the reference's",
    )
    if isinstance(seed, SeedRoles):
        yield check_seed_roles(again, {role: train(each) for role, each in _each_role_changed(seed).items()})


def other_seeds(seed: int) -> tuple[int, int]:
    """Return two seeds that show a collapse of seeds.

    The first agrees with `seed` modulo 2 to 16 and every power of two up to 65536. The two agree with each
    other if a seed is divided or a large one is cut.
    """
    return seed + _PERIOD, seed + _PERIOD + 1


def _other_whole_seeds(seed: Seed) -> tuple[Seed, ...]:
    """Return two seeds of which every role differs from `seed`'s."""
    if isinstance(seed, int):
        return other_seeds(seed)
    others = zip(*(other_seeds(number_of(seed, role)) for role in ROLES), strict=True)
    return tuple(SeedRoles(**dict(zip(ROLES, each, strict=True))) for each in others)


def _each_role_changed(seed: SeedRoles) -> dict[SeedRole, SeedRoles]:
    """Return seeds that differ from `seed` in one role each."""
    return {role: seed.model_copy(update={role: other_seeds(number_of(seed, role))[0]}) for role in ROLES}


def check_seed_roles(first: Run, changed: Mapping[SeedRole, Run]) -> TrainingCheck:
    """Compare one-step trainings whose seeds differ in one role: the others have to be as they were."""

    def problems() -> Iterator[str]:
        for role, other in changed.items():
            differs: dict[SeedRole, bool] = {
                "init": any(not torch.equal(first.start[name], other.start[name]) for name in first.start),
                "order": [each.rows for each in first.seen.training]
                != [each.rows for each in other.seen.training],
            }
            # Masks have the shapes of the batch: another order gives others.
            if role != "order":
                differs["dropout"] = not same_masks(first.dropped, other.dropped)
            for part, is_other in differs.items():
                if is_other != (part == role):
                    effect = "changes" if is_other else "does not change"
                    yield f"the seed of {role} {effect} {_PART_OF[part]}"

    return none_of("seed roles", problems(), "each seed changes its own part of a training alone")


def _begins_otherwise(run: Run, due: Beginning) -> Iterator[str]:
    """Two seeds that differ may both be others than those asked for."""
    for name, each in due.parameters.items():
        given = run.start.get(name)
        expected = each[run.used.get(name, slice(None))]
        if given is None or given.shape != expected.shape or float((given - expected).abs().max()) > _EQUAL:
            yield f"{name} begins with other values than its seed gives"
    rows = [each.rows for each in run.seen.training]
    if due.rows and rows != list(due.rows[: len(rows)]):
        yield "the first batches are not those of their seed"


def _seed_problems(first: Run, again: Run, others: Sequence[Run], *, one_order: bool) -> Iterator[str]:
    new = [*first.initialized, *(name for name in first.start if ".lora_A." in name)]
    drawn = [name for name in new if bool(first.start[name].std(correction=0) > 0)]
    if any(not torch.equal(first.start[name], again.start[name]) for name in first.start):
        yield "the same seed begins with other parameters"
    if not drawn:
        yield "no parameter of the head is drawn at random"
    rows = [each.rows for each in first.seen.training]
    repeated = [each.rows for each in again.seen.training]
    if repeated != rows[: len(repeated)]:
        yield "the same seed gives another order"
    for one, other in combinations((again, *others), 2):
        for name in drawn:
            if torch.equal(one.start[name], other.start[name]):
                yield f"{name} is the same for two seeds"
        same = [each.rows for each in one.seen.training] == [each.rows for each in other.seen.training]
        if same != one_order:
            yield f"two seeds give {'the same order' if same else 'other orders, and Trainer gives one'}"
