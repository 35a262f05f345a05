"""Behind the verdicts of a comparison: what differs between both sides, and which examples flipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from harness.analysis.comparison.models import Comparison, FieldChange, Flip
from harness.model.seeds import Seed
from harness.output.document import Column, Table
from harness.output.numbers import NOTHING
from harness.words import count

MOST_NOTES: Final = 40
MOST_FLIPS: Final = 50
# The texts of evaluation examples by example id.
Texts = Mapping[int, tuple[str, ...]]


def differences(comparison: Comparison, texts: Texts) -> Iterator[Table]:
    """Yield the changes and the flipped examples; nothing where neither was asked for."""
    if comparison.explanation is not None:
        yield Table("What differs", notes=tuple(_lines(comparison)))
        yield from _flipped(comparison, texts)


def cut(lines: list[str], most: int) -> list[str]:
    """Return the first lines, and how many more there are."""
    if len(lines) <= most:
        return lines
    return [*lines[:most], f"and {count(len(lines) - most, 'line')} more: `--format json` has all"]


def _lines(comparison: Comparison) -> list[str]:
    """What differs in environment, configuration and inputs; empty if not asked."""
    explained = comparison.explanation
    if explained is None:
        return []
    changes = [
        *(_change("environment", each) for each in explained.environment),
        *(_change("configuration", each) for each in explained.configuration),
        *(_change("input", each) for each in explained.inputs),
    ]
    flipped = [] if any(each.flips for each in explained.flips) else ["no example is classified otherwise"]
    return [
        *(cut(changes, MOST_NOTES) or ["environment, configuration and inputs are the same"]),
        *flipped,
    ]


def _change(kind: str, change: FieldChange) -> str:
    before, after = (NOTHING if text is None else text for text in (change.before, change.after))
    return f"{kind}, {change.candidate}: {change.field}: {before} against {after}"


@dataclass(frozen=True, slots=True)
class _Flipped:
    """The seeds in which one example of one variant changed in the same way."""

    variant: str
    candidate: str
    flip: Flip
    seeds: tuple[Seed, ...]


def _flipped(comparison: Comparison, texts: Texts) -> Iterator[Table]:
    """Yield the flipped examples, those of the most seeds first; nothing if none did."""
    found = _by_example(comparison)
    shown = found[:MOST_FLIPS]
    several = len(comparison.candidates) > 1
    if not shown:
        return
    known = [texts.get(each.flip.example_id, ()) for each in shown]
    width = max(map(len, known))
    yield Table(
        "Flipped examples",
        (
            Column("example", tuple(str(each.flip.example_id) for each in shown)),
            Column("variant", tuple(each.variant for each in shown), numeric=False),
            *([Column("report", tuple(each.candidate for each in shown), numeric=False)] if several else []),
            Column("seeds", tuple(", ".join(map(str, each.seeds)) for each in shown), numeric=False),
            Column("label", tuple(str(each.flip.label) for each in shown)),
            Column("before", tuple(str(each.flip.before) for each in shown)),
            Column("after", tuple(str(each.flip.after) for each in shown)),
            Column("outcome", tuple(_outcome(each.flip) for each in shown), numeric=False),
            *(
                Column(
                    f"text {at + 1}" if width > 1 else "text",
                    tuple(each[at] if at < len(each) else "" for each in known),
                    numeric=False,
                    dispensable=True,
                )
                for at in range(width)
            ),
        ),
        notes=(f"the first {MOST_FLIPS} of {count(len(found), 'flipped example')}; `--format json` has all",)
        if len(found) > MOST_FLIPS
        else (),
    )


def _by_example(comparison: Comparison) -> list[_Flipped]:
    explained = comparison.explanation
    seeds: dict[tuple[str, str, int, int, int, int], list[Flip]] = {}
    for each in explained.flips if explained is not None else ():
        for flip in each.flips:
            way = (each.variant, each.candidate, flip.example_id, flip.label, flip.before, flip.after)
            seeds.setdefault(way, []).append(flip)
    found = [
        _Flipped(variant, candidate, flips[0], tuple(flip.seed for flip in flips))
        for (variant, candidate, *_), flips in seeds.items()
    ]
    return sorted(found, key=lambda each: -len(each.seeds))


def _outcome(flip: Flip) -> str:
    if flip.label not in (flip.before, flip.after):
        return "wrong either way"
    return "now right" if flip.after == flip.label else "now wrong"
