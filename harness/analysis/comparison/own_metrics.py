"""Users' metrics in a comparison: both means, and why there is no verdict on their difference.

A score from a file cannot be split into sums over examples, so it is not resampled: the scatter over seeds
alone would ignore which examples were drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from statistics import fmean

from harness.analysis.comparison.alignment import Variant
from harness.analysis.comparison.conditions import CONDITIONS, concerns
from harness.analysis.comparison.contrasts import Evidence
from harness.model.quality import OwnScores
from harness.model.results import TrialResult
from harness.words import count


def own_metric_notes(
    evidence: Sequence[Evidence], labels: Sequence[str], allowed: Collection[str]
) -> Iterator[str]:
    """Yield a sentence for each pair and each metric from a file that both sides or one of them has."""
    for each, label in zip(evidence, labels, strict=True):
        before, after = (_by_label(side) for side in (each.pair.before, each.pair.after))
        for name in before | after:
            found = f"own metric {name}, {label} against {each.pair.candidate}"
            if name not in before or name not in after:
                side = "the baseline" if name in before else each.pair.candidate
                yield f"{found}: not comparable: only {side} has it"
            else:
                yield f"{found}: {_judged(each, before[name], after[name], allowed)}"


def _by_label(side: Variant | None) -> dict[str, OwnScores]:
    return {} if side is None else {found.label: found for found in side.report.own_metrics}


def _judged(evidence: Evidence, before: OwnScores, after: OwnScores, allowed: Collection[str]) -> str:
    if (before.version, before.goal) != (after.version, after.goal):
        return f"not comparable: {before.version}, goal {before.goal}, and {after.version}, goal {after.goal}"
    blocking = [
        name
        for name in evidence.match.mismatches or {}
        if name not in allowed and concerns(CONDITIONS[name].affects, on_machine=False)
    ]
    if blocking:
        return f"not comparable: {', '.join(blocking)}"
    sides = _values(before, evidence.match.before), _values(after, evidence.match.after)
    if not all(sides):
        return "not comparable: no score on one side"
    means = " and ".join(f"{fmean(values):.4g} (mean of {count(len(values), 'seed')})" for values in sides)
    return f"{means}, {after.goal} is better: unsure: a metric from a file is not resampled over examples"


def _values(found: OwnScores, results: Sequence[TrialResult]) -> list[float]:
    scores = (found.scores.get(result.trial.id) for result in results)
    return [score.value for score in scores if score is not None and score.value is not None]
