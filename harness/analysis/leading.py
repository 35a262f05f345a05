"""The answer of a run: which variants are fastest, and by how much against the first one of the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.comparison.sessions import Turns
from harness.analysis.rows import Row, speed_ratio
from harness.analysis.stats.components import ALPHA
from harness.analysis.summary import speeds
from harness.model.results import Report, TrialResult


@dataclass(frozen=True, slots=True)
class Leader:
    """The fastest variants of one device.

    `fastest` is one row, or the rows that the trials do not separate, the highest median first; they are
    `ranked` if a test was possible. `compared` is the number of variants with a usable speed. `against` is
    the first other variant of the plan with the same checkpoint, if possible one that is not `fastest`;
    `ratio` is the speed of the first fastest row over its speed, with the 95 % interval over paired seeds
    where there are several and their trials took turns; otherwise `doubt` is why they did not.
    """

    fastest: tuple[Row, ...]
    compared: int
    ranked: bool
    against: Row | None
    ratio: float | None
    interval: tuple[float, float] | None
    doubt: str | None = None


def leaders(report: Report, rows: Sequence[Row]) -> tuple[Leader, ...]:
    """Return the leader of each device, in plan order; none where no variant has a usable speed."""
    groups = _groups(row for row in rows if not unusable(row))
    variants, turns = report.variants(), Turns(report.results)
    return tuple(_leader(group, variants, turns) for group in groups)


def _groups(rows: Iterable[Row]) -> list[list[Row]]:
    """Return the rows by device and work, in plan order: speeds of different ones are not comparable."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        work = (row.trial.device, row.trial.task.name, row.tokenizing is None, row.stand_in is None)
        groups.setdefault(work, []).append(row)
    return list(groups.values())


def unusable(row: Row) -> str:
    """Return why the speed of a row is not compared with others, as in their ranking; empty where it is."""
    reasons = {
        "no speed": row.speed is None,
        "not every seed completed": row.completed < len(row.seeds),
        "degenerate": row.degenerate > 0,
        "fails parity": row.fails_parity,
        "fails training proof": row.fails_training,
        "did not move": row.unmoved > 0,
        "mixed inputs": bool(row.mixed),
        f"{row.concurrent} at once": row.concurrent > 1,
    }
    return ", ".join(reason for reason, applies in reasons.items() if applies)


def by_speed(rows: Sequence[Row]) -> list[Row]:
    """Return the rows by falling median speed; those without one last, in plan order."""
    return sorted(rows, key=lambda row: -(row.speed or 0.0))


def _leader(group: Sequence[Row], variants: Mapping[str, Sequence[TrialResult]], turns: Turns) -> Leader:
    ordered = by_speed(group)
    ranked = [row for row in ordered if row.rank is not None]
    fastest = ranked or ordered[:1]
    first = fastest[0]
    others = [row for row in group if row is not first and row.trial.checkpoint == first.trial.checkpoint]
    against = next((row for row in others if row not in fastest), next(iter(others), None))
    if against is None or first.speed is None or not against.speed:
        return Leader(tuple(fastest), len(group), bool(ranked), None, None, None)
    sides = variants[against.variant], variants[first.variant]
    doubt = turns.doubt(*sides)
    effect = speed_ratio(*map(speeds, sides)) if doubt is None else None
    return Leader(
        tuple(fastest),
        len(group),
        bool(ranked),
        against,
        first.speed / against.speed if effect is None else effect.value,
        None if effect is None else effect.interval(ALPHA),
        doubt,
    )


def places(rows: Sequence[Row]) -> dict[str, str]:
    """Return the place of each variant whose speed is compared, by variant id, the fastest first.

    `1` is shown to be the fastest, `[1-3]` are not separated, `(4)` is the order of the medians alone.
    """
    found: dict[str, str] = {}
    for group in _groups(row for row in rows if not unusable(row)):
        first = [row for row in by_speed(group) if row.rank is not None]
        shown = "1" if len(first) == 1 else f"[1-{len(first)}]"
        found |= {row.variant: shown for row in first}
        others = [row for row in by_speed(group) if row.rank is None]
        found |= {row.variant: f"({at})" for at, row in enumerate(others, start=len(first) + 1)}
    return found
