"""Evidence of a comparison: the trials of an aligned variant on both sides, and their predictions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from harness.analysis.checks.contradiction import Contradiction
from harness.analysis.comparison.alignment import Pair
from harness.analysis.comparison.matching import Match, has_degenerate, match
from harness.analysis.over_time.earlier_trials import Earlier, History
from harness.analysis.stats.sheets import PairedSheets, Sheet, SheetReader, pair_sheets
from harness.model.metrics import metric_named

# By the identity of a report and the id of a trial.
Contradictory = Mapping[int, Mapping[str, tuple[Contradiction, ...]]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """An aligned variant: its trials on both sides, and their predictions on the same examples.

    `match` is for quality, `timed` for other metrics: it includes degenerate trials. `paired` is None if a
    trial has no predictions, and a message if they cannot be paired. `contradictions` are those of all trials
    of `timed`. `earlier` are trials of a history. `read` reads the predictions of further splits.
    """

    pair: Pair
    match: Match
    timed: Match
    sheets: tuple[Sheet | None, ...]
    paired: PairedSheets | str | None
    contradictions: tuple[Contradiction, ...]
    earlier: Earlier
    read: SheetReader

    def match_for(self, metric: str) -> Match:
        """Return the trials that count for this metric."""
        return self.match if metric_named(metric).family == "quality" else self.timed

    def on(self, split: str | None) -> Evidence:
        """Return the evidence with the predictions on a further evaluation split; None is the first one."""
        if split is None:
            return self
        sheets, paired = _sheets(self.match, self.read, split)
        return replace(self, sheets=sheets, paired=paired)


def gather(
    pair: Pair,
    apart: Collection[str],
    contradictory: Contradictory,
    read: SheetReader,
    history: History,
) -> Evidence:
    """Match both sides and read their predictions.

    Args:
        pair: the aligned variant.
        apart: the axes that differ by intent.
        contradictory: the contradictions inside the trials of the compared reports.
        read: of all pairs of the comparison.
        history: earlier trials.
    """
    matched = match(pair, apart)
    timed = match(pair, apart, timed=True) if has_degenerate(pair) or not matched.paired else matched
    sheets, paired = _sheets(matched, read)
    found = _contradictions(pair, timed, contradictory)
    return Evidence(pair, matched, timed, sheets, paired, found, history.of(pair), read)


def _sheets(
    matched: Match, read: SheetReader, split: str | None = None
) -> tuple[tuple[Sheet | None, ...], PairedSheets | str | None]:
    """Return the predictions of both sides, and those on the same examples as in `Evidence.paired`."""
    sheets = tuple(read(result, split) for result in (*matched.before, *matched.after))
    kept = [sheet for sheet in sheets if sheet is not None]
    if not kept or len(kept) < len(sheets):
        return sheets, None
    baselines = len(matched.before)
    return sheets, pair_sheets(kept[:baselines], kept[baselines:])


def _contradictions(pair: Pair, matched: Match, known: Contradictory) -> tuple[Contradiction, ...]:
    sides = (pair.before, matched.before), (pair.after, matched.after)
    return tuple(
        found
        for variant, results in sides
        if variant is not None
        for result in results
        for found in known[id(variant.report)][result.trial.id]
    )
