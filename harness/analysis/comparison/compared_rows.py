"""The rows of a comparison: test all effects, adjust them together, and derive the verdicts.

A verdict depends only on the statistics of its effect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.analysis.assets_used import asset_sentences
from harness.analysis.comparison.aggregates import aggregates
from harness.analysis.comparison.alignment import Pair, Variant
from harness.analysis.comparison.conditions import device_name
from harness.analysis.comparison.contrasts import Contrast, contrast
from harness.analysis.comparison.gathered import Evidence
from harness.analysis.comparison.models import ComparisonRow, Side
from harness.analysis.comparison.next_step import next_step
from harness.analysis.comparison.terms import Terms
from harness.analysis.naming import label as label_of
from harness.analysis.naming import telling_axes
from harness.analysis.parity import ParityVerdict, between, verdict_of
from harness.analysis.stats.components import ALPHA
from harness.analysis.stats.quality_tests import compare_quality
from harness.analysis.stats.tests import Adjusted, Effect, holm, is_equivalent, open_alpha
from harness.analysis.training_verdicts import training_verdict
from harness.model.looks import Verdict
from harness.model.metrics import Goal, metric_named
from harness.model.results import TrialResult

MOST_ALIKE: Final = 0.25
"""Times and rates that may differ by a larger share are not called the same, however noisy the machine is."""


def verdict_of_effect(
    effect: Effect, p: float | None, goal: Goal, margin: float | None, level: float = ALPHA
) -> Verdict:
    """Return the verdict on a difference of scores or a ratio of numbers of whole trials.

    Args:
        effect: candidate minus baseline, or candidate over baseline.
        p: adjusted over the table; None if the error is unknown.
        goal: which direction is better.
        margin: of equivalence: a difference in the metric's unit, or a relative one for a ratio; None if
            unknown.
        level: of the two one-sided tests of equivalence.

    Returns:
        `better` or `worse` if the test finds a difference, else `same` if the effect is shown to be inside
        the margin or both sides are identical, else `unsure`.
    """
    if p is not None and p <= ALPHA:
        return "better" if (effect.center > 0) == (goal == "max") else "worse"
    if effect.identical:
        return "same"
    if not margin:
        return "unsure"
    return "same" if is_equivalent(effect, *equivalence_limits(effect, margin), level) else "unsure"


def equivalence_limits(effect: Effect, margin: float) -> tuple[float, float]:
    """Return the smallest and the largest effect inside a margin: two ratios, or two differences."""
    return ratio_limits(margin) if effect.ratio else (-margin, margin)


def ratio_limits(band: float) -> tuple[float, float]:
    """Return the smallest and the largest ratio inside a relative band."""
    return 1 / (1 + band), 1 + band


@dataclass(frozen=True, slots=True)
class Draft:
    """One metric of one aligned variant, measured but without a verdict."""

    evidence: Evidence
    label: str
    contrast: Contrast
    variants: int = 1

    @property
    def effect(self) -> Effect | None:
        """The tested effect, if any."""
        return self.contrast.effect


@dataclass(frozen=True, slots=True)
class Judged:
    """A row with its draft: a gate tests the effect, and a look gives a verdict at its own level."""

    row: ComparisonRow
    draft: Draft
    margin: float | None

    @property
    def effect(self) -> Effect | None:
        """The tested effect, if any."""
        return self.draft.effect

    @property
    def sides(self) -> tuple[str, ...]:
        """The ids of the variants on both sides, the baseline first; without a missing one."""
        pair = self.draft.evidence.pair
        sides = [side for side in (pair.before, pair.after) if side is not None]
        return tuple(next(iter(side.results.values())).trial.variant_id for side in sides)

    def verdict_at(self, p: float | None, level: float) -> Verdict:
        """Return the verdict with this adjusted p, and this level of the tests of equivalence."""
        return _verdict(self.draft, p, self.margin, level)[0]


def comparison_rows(
    evidence: Sequence[Evidence], labels: Sequence[str], reference: str, terms: Terms
) -> list[Judged]:
    """Return a row for each aligned variant and metric, then for each metric over all variants of an axis.

    `labels` name the variants, `reference` the baseline. The rows over all variants are adjusted separately.
    """
    drafts = [
        Draft(each, label, contrast(each, metric, terms))
        for each, label in zip(evidence, labels, strict=True)
        for metric in terms.metrics_of(each.pair.task)
    ]
    drafts = _tested(_grouped_by_variant(drafts, terms.metrics))
    summaries: list[Draft] = []
    if terms.apart:
        groups = aggregates([(draft.evidence, draft.contrast) for draft in drafts])
        task = _task_of(evidence, terms.apart)
        summaries = _tested(
            [
                Draft(each, f"all {count} variants{task(each.pair)}", found, count)
                for each, found, count in groups
            ]
        )
    return [*_judged(drafts, reference, terms), *_judged(summaries, reference, terms)]


def _task_of(evidence: Sequence[Evidence], apart: Collection[str]) -> Callable[[Pair], str]:
    """Return a function that names the task of a pair, or nothing where all have the same."""
    varying = telling_axes(each.pair.axes for each in evidence)
    names = [name for name in varying if name.partition(".")[0] == "task" and name not in apart]
    return lambda pair: f" of {label_of(pair.axes, names)}" if names else ""


def _tested(drafts: list[Draft]) -> list[Draft]:
    """Return the drafts with the effects of quality, computed for the whole table in one call for speed."""
    effects = iter(
        compare_quality([draft.contrast.case for draft in drafts if draft.contrast.case is not None])
    )
    return [
        replace(draft, contrast=replace(draft.contrast, effect=next(effects)))
        if draft.contrast.case is not None
        else draft
        for draft in drafts
    ]


def _grouped_by_variant(drafts: list[Draft], metrics: Sequence[str]) -> list[Draft]:
    """Sort by variant in order of appearance, then by metric, so that candidates are adjacent."""
    order = {draft.label: place for place, draft in reversed(list(enumerate(drafts)))}
    return sorted(drafts, key=lambda draft: (order[draft.label], metrics.index(draft.contrast.metric)))


def _judged(drafts: Sequence[Draft], reference: str, terms: Terms) -> list[Judged]:
    adjusted = holm([draft.effect.p if draft.effect is not None else None for draft in drafts])
    level = open_alpha(adjusted)
    return [
        Judged(_row(draft, each, level, reference, terms), draft, _margin(draft.contrast.metric, terms))
        for draft, each in zip(drafts, adjusted, strict=True)
    ]


def _row(
    draft: Draft, adjusted: Adjusted | None, level: float, reference: str, terms: Terms
) -> ComparisonRow:
    evidence, found = draft.evidence, draft.contrast
    metric, matched = metric_named(found.metric), draft.evidence.match_for(found.metric)
    margin = _margin(found.metric, terms)
    verdict, notes = _verdict(draft, None if adjusted is None else adjusted.p, margin)
    row = ComparisonRow(
        variant=draft.label,
        metric=found.metric,
        unit=metric.unit,
        goal=found.direction,
        verdict=verdict,
        baseline=_side(reference, evidence.pair.before, matched.before, found.before),
        candidate=_side(evidence.pair.candidate, evidence.pair.after, matched.after, found.after),
        kind="difference" if metric.family == "quality" else "ratio",
        parity=between(*proved) if len(proved := _proofs(evidence.pair)) == 2 else None,
        across_devices=found.across_devices,
        seeds=matched.seeds,
        dropped_seeds=matched.dropped,
        mismatches=found.mismatches,
        notes=notes,
        assets=asset_sentences([*matched.before, *matched.after]),
        variants=draft.variants,
    )
    return row if found.effect is None else _with_effect(row, found.effect, adjusted, level, margin)


def _with_effect(
    row: ComparisonRow, effect: Effect, adjusted: Adjusted | None, level: float, margin: float | None
) -> ComparisonRow:
    """Return the row with the numbers behind its verdict."""
    alpha = 2 * ALPHA if row.verdict == "same" else adjusted.alpha if adjusted is not None else ALPHA
    low, high = equivalence_limits(effect, margin or 0.0)
    interval = (effect.at(high) if row.verdict == "same" else effect).interval(alpha)
    return row.model_copy(
        update={
            "effect": effect.value,
            "interval": interval,
            "coverage": None if interval is None else 1 - alpha,
            "test": effect.test,
            "p": effect.p,
            "p_holm": None if adjusted is None else adjusted.p,
            "pair_p": effect.pair_p,
            "detectable": effect.detectable(level) if row.verdict == "unsure" else None,
            "next_step": next_step(row, effect, margin, level) if row.verdict == "unsure" else None,
            "equivalent": is_equivalent(effect, low, high) if margin else None,
            "discordant": effect.discordant,
        }
    )


def _margin(metric: str, terms: Terms) -> float | None:
    """Return the margin of equivalence: of the score, or for a ratio the relative machine noise."""
    if metric_named(metric).family == "quality":
        return terms.margins.get(metric)
    return min(terms.noise[metric], MOST_ALIKE) if metric in terms.noise else None


def _side(name: str, variant: Variant | None, results: Sequence[TrialResult], value: float | None) -> Side:
    return Side(
        name=name,
        device=device_name(results[0]) if results else None,
        parity=_parity(variant),
        value=value,
        trials=len(results),
    )


def _parity(variant: Variant | None) -> ParityVerdict | None:
    if variant is None or not variant.report.proofs:
        return None
    return "unproven" if variant.proof is None else verdict_of(variant.proof)


def _proofs(pair: Pair) -> list[TrialResult]:
    found = [side.proof for side in (pair.before, pair.after) if side is not None]
    return [proof for proof in found if proof is not None]


def _verdict(
    draft: Draft, p: float | None, margin: float | None, level: float = ALPHA
) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and its notes."""
    found, effect = draft.contrast, draft.effect
    matched = draft.evidence.match_for(found.metric)
    reason = () if effect is None or effect.reason is None else (effect.reason,)
    notes = (*reason, *found.notes, *(matched.notes if draft.variants == 1 else ()))
    if found.settled is not None or effect is None:
        return found.settled or "not comparable", notes
    verdict = verdict_of_effect(effect, p, found.direction, margin, level)
    if metric_named(found.metric).depends_on_machine and "differs" in map(
        verdict_of, _proofs(draft.evidence.pair)
    ):
        return "not comparable", (*notes, "parity failed: one side computes a different function")
    pair = draft.evidence.pair
    trained = [side.training for side in (pair.before, pair.after) if side and side.training]
    if "differs" in map(training_verdict, trained):
        return "not comparable", (
            *notes,
            "proof of training failed: one side trains differently from the reference",
        )
    if matched.lost and verdict in ("better", "same"):
        return "unsure", (*notes, f"{verdict} on the remaining trials only: some were lost")
    return verdict, notes
