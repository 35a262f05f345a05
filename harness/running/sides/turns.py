"""Turns: trials to be compared run next to each other, in the order A B, then B A, then A B again.

Slow drift of the machine meets both sides of two successive turns equally, so it cancels in paired seeds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from harness.analysis.comparison.alignment import axes_apart, refuse_several, refuse_tasks
from harness.analysis.naming import axes, describe
from harness.errors import InvalidInputError
from harness.model.trial import Trial
from harness.words import did_you_mean, quoted

Entry = tuple[int, Trial]
"""The position of a side, and a trial of it."""

Turn = tuple[Entry, ...]
"""The trials that are compared with each other: one of each side, or one of each level of an axis."""

_SHOWN: Final = 5
_NO_TURNS: Final = "trials on different devices run at the same time and take no turns"


def turns_of_sides(base: Sequence[Trial], candidate: Sequence[Trial]) -> tuple[list[Turn], frozenset[str]]:
    """A turn for each trial of the base with its partner, and the axes in which the suites differ.

    Suites with the same variants pair these. Otherwise the axes whose values differ between the suites are
    the compared axes; trials that agree in all others are partners.

    Raises:
        InvalidInputError: A trial has no partner, or more than one, or the suites differ in their devices.
    """
    apart = _differing_axes(base, candidate)
    refuse_tasks(apart)
    if "device" in apart:
        raise InvalidInputError(_NO_TURNS, hint="Give both suites the same devices.")
    partners = _by_key(candidate, apart, "candidate")
    turns: list[Turn] = []
    alone = []
    for key, trial in _by_key(base, apart, "base").items():
        partner = partners.pop(key, None)
        if partner is None:
            alone.append(f"base: {_described(trial)}")
        else:
            turns.append(((0, trial), (1, partner)))
    alone += [f"candidate: {_described(trial)}" for trial in partners.values()]
    if alone:
        more = f"; and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else ""
        raise InvalidInputError(
            f"{len(alone)} trials have no partner on the other side: {'; '.join(alone[:_SHOWN])}{more}",
            hint="Give both suites the same seeds, and the same matrix but for the axes to compare.",
        )
    return turns, apart


def turns_along(trials: Sequence[Trial], axis: str) -> list[Turn]:
    """A turn for each set of trials that differ in one axis only.

    Raises:
        InvalidInputError: There is no such axis, the suite has one value of it, or a value has several of
            another one; trials on different devices run at the same time and take no turns.
    """
    known = axes(trials[0])
    if axis not in known:
        raise InvalidInputError(f"there is no axis {quoted(axis)}{did_you_mean(axis, list(known))}")
    refuse_tasks([axis])
    if axis == "device":
        raise InvalidInputError(_NO_TURNS, hint="Run the suite, then: `harness compare REPORT --by device`.")
    levels = list(dict.fromkeys(axes(trial)[axis] for trial in trials))
    if len(levels) == 1:
        raise InvalidInputError(
            f"every trial of the suite has {axis} {known[axis]}: there is nothing to compare it with",
            hint=f"Give matrix.{axis} two values or more.",
        )
    refuse_several(axis, map(axes, trials))
    apart = axes_apart(axis, trials)
    turns: dict[tuple[object, ...], list[Trial]] = {}
    for trial in trials:
        turns.setdefault(_key(trial, apart), []).append(trial)
    # In the order in which the suite names the levels, which is not that of every seed.
    return [
        tuple((0, trial) for trial in sorted(turn, key=lambda trial: levels.index(axes(trial)[axis])))
        for turn in turns.values()
    ]


def in_turns(turns: Sequence[Turn]) -> list[Entry]:
    """The queue of a session: every second turn of a device in reverse."""
    taken: dict[str, int] = {}
    queue: list[Entry] = []
    for turn in turns:
        device = turn[0][1].device
        place = taken[device] = taken.get(device, -1) + 1
        queue += reversed(turn) if place % 2 else turn
    return queue


def begun(turns: Sequence[Turn], done: Sequence[Collection[str]]) -> list[Entry]:
    """The entries that are done in turns of which another is not.

    They have to run again with their partners: only trials that run next to each other meet the same machine.

    Args:
        turns: all turns of a session.
        done: ids of the trials that need not run, for each side.
    """
    found: list[Entry] = []
    for turn in turns:
        finished = [(side, trial) for side, trial in turn if trial.id in done[side]]
        if len(finished) < len(turn):
            found += finished
    return found


def _differing_axes(base: Sequence[Trial], candidate: Sequence[Trial]) -> frozenset[str]:
    if {trial.variant_id for trial in base} == {trial.variant_id for trial in candidate}:
        return frozenset()
    ours, theirs = [axes(trial) for trial in base], [axes(trial) for trial in candidate]
    return frozenset(
        name for name in ours[0] if {each[name] for each in ours} != {each[name] for each in theirs}
    )


def _by_key(trials: Sequence[Trial], apart: Collection[str], side: str) -> dict[tuple[object, ...], Trial]:
    found: dict[tuple[object, ...], Trial] = {}
    for trial in trials:
        key = _key(trial, apart)
        if key in found:
            raise InvalidInputError(
                f"{side}: two trials differ only in what the suites have apart ({', '.join(sorted(apart))}): "
                f"{_described(found[key])} and {_described(trial)}",
                hint="Let the suites differ in axes with one value each, or compare levels: `--by AXIS`.",
            )
        found[key] = trial
    return found


def _key(trial: Trial, apart: Collection[str]) -> tuple[object, ...]:
    return (trial.seed, *(value for name, value in axes(trial).items() if name not in apart))


def _described(trial: Trial) -> str:
    return f"{describe(trial)} seed={trial.seed}"
