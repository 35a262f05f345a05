"""Matching: select the trials of two aligned variants that are compared."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.checks.inputs import mixed_inputs
from harness.analysis.comparison.alignment import Pair, Variant
from harness.analysis.comparison.conditions import mismatches
from harness.model.looks import Verdict
from harness.model.results import TrialResult
from harness.model.seeds import Seed, repeated_roles
from harness.model.status import STATUSES
from harness.words import count


@dataclass(frozen=True, slots=True)
class Match:
    """The usable trials of both sides: those with the same seeds in the same order where `paired`.

    Sides are unpaired if they share at most one seed and one of them has several: the scatter of these seeds
    then gives the variance over seeds of both sides. `settled` is a verdict that needs no numbers; `notes`
    state the reason. `dropped` are seeds on one side only; `lost` are seeds that the baseline completed and
    the candidate did not or, for quality, completed with a single predicted class. `mismatches` maps names to
    both texts.
    """

    before: tuple[TrialResult, ...] = ()
    after: tuple[TrialResult, ...] = ()
    dropped: tuple[Seed, ...] = ()
    lost: tuple[Seed, ...] = ()
    settled: Verdict | None = None
    notes: tuple[str, ...] = ()
    paired: bool = True
    mismatches: Mapping[str, tuple[str, str]] | None = None

    @property
    def seeds(self) -> tuple[Seed, ...]:
        """The seeds on both sides."""
        after = {result.trial.seed for result in self.after}
        return tuple(seed for result in self.before if (seed := result.trial.seed) in after)

    @property
    def repeated(self) -> int:
        """The number of seeds of which both sides have one and the same result, from two copies of it."""
        after = {result.trial.seed: result for result in self.after}
        pairs = ((result, after.get(result.trial.seed)) for result in self.before)
        return sum(other is not None and _is_one_result(one, other) for one, other in pairs)


def match(pair: Pair, apart: Collection[str], *, timed: bool = False) -> Match:
    """Pair the trials of two variants by seed.

    Args:
        pair: the variants.
        apart: the axes that may differ.
        timed: include degenerate trials: their scores are meaningless, but their speed is valid.
    """
    if pair.before is None:
        return Match(settled="missing", notes=("the baseline has no such variant",))
    if pair.after is None:
        return Match(settled="missing", notes=(f"{pair.candidate} has no such variant",))
    if notes := (*_mixed("the baseline", pair.before), *_mixed(pair.candidate, pair.after)):
        return Match(settled="not comparable", notes=notes)
    before, after = pair.before.results, pair.after.results
    usable_before, usable_after = _usable(pair.before, timed=timed), _usable(pair.after, timed=timed)
    seeds = sorted(usable_before & usable_after)
    counts = sorted((len(usable_before), len(usable_after)))
    pooled = not timed and len(seeds) < 2 and counts[0] >= 1 and counts[1] >= 2
    dropped = () if pooled else tuple(sorted(before.keys() ^ after.keys()))
    notes = (
        *_left_out("the baseline", pair.before, timed=timed),
        *_left_out(pair.candidate, pair.after, timed=timed),
        *_drops(dropped, before.keys() | after.keys()),
        *(_pooled(usable_before, usable_after) if pooled else ()),
        *_partly_varied(*((usable_before, usable_after) if pooled else (seeds,))),
    )
    if not seeds and not pooled:
        settled = _settled(pair.after, usable_after)
        if not usable_before:
            notes = (*notes, "the baseline has no trial to compare with")
        elif usable_after:
            notes = (*notes, "no seed is on both sides")
        return Match(dropped=dropped, settled=settled, notes=notes)
    chosen = (sorted(usable_before), sorted(usable_after)) if pooled else (seeds, seeds)
    differing: dict[str, tuple[str, str]] = {}
    for one, other in _combinations(*chosen):
        sides = (before[one], pair.before.report), (after[other], pair.after.report)
        differing |= mismatches(*sides, apart)
    return Match(
        before=tuple(before[seed] for seed in chosen[0]),
        after=tuple(after[seed] for seed in chosen[1]),
        paired=not pooled,
        dropped=dropped,
        lost=tuple(sorted((usable_before - usable_after) & after.keys())),
        notes=notes,
        mismatches=differing,
    )


def _is_one_result(before: TrialResult, after: TrialResult) -> bool:
    # Whole results are compared only where the cheap fields agree.
    return before.started == after.started and before == after


def _mixed(name: str, variant: Variant) -> tuple[str, ...]:
    """Return a note for each input that differs between the trials of one side."""
    found = mixed_inputs((result, variant.report) for result in variant.results.values())
    return tuple(f"{name} mixes inputs: {difference}" for difference in found.values())


def _usable(variant: Variant, *, timed: bool) -> set[Seed]:
    return {
        seed
        for seed, result in variant.results.items()
        if result.sound or (timed and result.status == "completed")
    }


def _settled(candidate: Variant, usable_after: set[Seed]) -> Verdict:
    if usable_after:
        return "not comparable"
    if not any(STATUSES[result.status].ran for result in candidate.results.values()):
        return "missing"
    return "failed"


def has_degenerate(pair: Pair) -> bool:
    """Return whether a completed trial of either side predicts a single class."""
    sides = [side for side in (pair.before, pair.after) if side is not None]
    return any(
        result.degenerate and result.status == "completed"
        for side in sides
        for result in side.results.values()
    )


def _left_out(name: str, variant: Variant, *, timed: bool) -> list[str]:
    """Return a note for each reason why trials of a side are unusable, with their seeds."""
    ways: dict[str, list[Seed]] = {}
    for seed, result in sorted(variant.results.items()):
        if result.status != "completed":
            reason = f": {result.reason}" if result.reason else ""
            ways.setdefault(f"left out, {result.status}{reason}", []).append(seed)
        elif result.degenerate:
            how = "counted for speed, though" if timed else "left out of scores,"
            ways.setdefault(f"{how} degenerate: it predicts {result.trial.task.collapsed}", []).append(seed)
    return [f"{name}, {_seeds(seeds)} {way}" for way, seeds in ways.items()]


def _drops(dropped: tuple[Seed, ...], every: Collection[Seed]) -> list[str]:
    if not dropped:
        return []
    return [
        f"{_seeds(dropped)} on one side only: dropped; to use them, run both sides with {seed_option(every)}"
    ]


def more_seeds(known: Collection[Seed], wanted: int) -> list[Seed]:
    """Return as many seeds, of which every role differs: known numbers first, then new ones."""
    kept: list[Seed] = [seed for seed in known if isinstance(seed, int)]
    return [*kept, *(seed for seed in range(wanted + len(kept)) if seed not in kept)][:wanted]


def seed_option(seeds: Collection[Seed]) -> str:
    """Return the option of `harness run` that sets the seeds: `-s 'matrix.seed=[0, 1, 2]'`."""
    return f"-s 'matrix.seed=[{', '.join(map(str, sorted(seeds)))}]'"


def _pooled(before: Collection[Seed], after: Collection[Seed]) -> list[str]:
    sides = [
        f"the {name}'s {len(seeds)} seeds"
        for name, seeds in (("baseline", before), ("candidate", after))
        if len(seeds) > 1
    ]
    return [f"unpaired seeds: the variance over seeds is estimated from {' and '.join(sides)}"]


def _partly_varied(*sides: Collection[Seed]) -> Iterator[str]:
    yield from dict.fromkeys(note for seeds in sides if (note := partly_varied(seeds)) is not None)


def partly_varied(seeds: Collection[Seed]) -> str | None:
    """Return a note about roles whose number repeats over the seeds of a variant, or None."""
    if not (found := repeated_roles(seeds)):
        return None
    roles = " and ".join(f"{role} has {count(number, 'number')}" for role, number in found.items())
    return (
        f"partly varied seeds: {roles} over {len(seeds)} seeds: their spread underestimates the variance "
        f"over seeds, and verdicts apply to these numbers of {' and '.join(found)}, not to the recipe"
    )


def _combinations(before: Sequence[Seed], after: Sequence[Seed]) -> list[tuple[Seed, Seed]]:
    """Return pairs of seeds that cover all seeds of both sides."""
    longest = max(len(before), len(after))
    return [(before[min(i, len(before) - 1)], after[min(i, len(after) - 1)]) for i in range(longest)]


def _seeds(seeds: Collection[Seed]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
