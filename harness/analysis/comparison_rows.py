"""The rows of a comparison: tested first, adjusted together, and only then put into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.analysis.alignment import Pair, Variant
from harness.analysis.comparison_models import ComparisonRow, Side, Verdict
from harness.analysis.conditions import device_name
from harness.analysis.contrasts import Contrast, Evidence, contrast
from harness.analysis.parity import ParityVerdict, between, verdict_of
from harness.analysis.resampling import compare_quality
from harness.analysis.statistics import holm, is_equivalent
from harness.analysis.terms import Terms, family
from harness.analysis.verdicts import quality_verdict, trial_verdict
from harness.metrics import METRICS
from harness.results.models import TrialResult


def comparison_rows(
    evidence: Sequence[Evidence], labels: Sequence[str], reference: str, terms: Terms
) -> list[ComparisonRow]:
    """One row for each aligned variant and metric; `labels` name the variants, `reference` the baseline."""
    drafts = [
        (each, label, contrast(each, metric, terms))
        for each, label in zip(evidence, labels, strict=True)
        for metric in terms.metrics
    ]
    drafts = _grouped_by_variant(drafts)
    effects = iter(compare_quality([draft.case for _, _, draft in drafts if draft.case is not None]))
    drafts = [
        (each, label, replace(draft, effect=next(effects)) if draft.case is not None else draft)
        for each, label, draft in drafts
    ]
    adjusted = holm([draft.effect.p if draft.effect is not None else None for _, _, draft in drafts])
    return [
        _row(each, label, draft, p, reference, terms)
        for (each, label, draft), p in zip(drafts, adjusted, strict=True)
    ]


def _grouped_by_variant(
    drafts: list[tuple[Evidence, str, Contrast]],
) -> list[tuple[Evidence, str, Contrast]]:
    """Variants in the order met, and within one the metrics, so that its candidates stand together."""
    order = {label: place for place, label in reversed(list(enumerate(label for _, label, _ in drafts)))}
    metrics = {draft.metric: place for place, (_, _, draft) in reversed(list(enumerate(drafts)))}
    return sorted(drafts, key=lambda draft: (order[draft[1]], metrics[draft[2].metric]))


def _row(
    evidence: Evidence, label: str, draft: Contrast, p_holm: float | None, reference: str, terms: Terms
) -> ComparisonRow:
    metric, effect = METRICS[draft.metric], draft.effect
    matched = evidence.match_for(draft.metric)
    quality = family(draft.metric) == "quality"
    margin = terms.margin if metric.unit == "ratio" and quality else None
    verdict, notes = _verdict(evidence, draft, p_holm, margin, terms)
    measured: dict[str, Any] = {}
    if effect is not None:
        measured = {
            "effect": effect.value,
            "interval": effect.interval,
            "test": effect.test,
            "p": effect.p,
            "p_holm": p_holm,
            "detectable": effect.detectable,
            "equivalent": None if margin is None else is_equivalent(effect.narrow, margin),
            "discordant": effect.discordant,
        }
    return ComparisonRow(
        variant=label,
        metric=draft.metric,
        unit=metric.unit,
        goal=metric.goal,
        verdict=verdict,
        baseline=_side(reference, evidence.pair.before, matched.before, draft.before),
        candidate=_side(evidence.pair.candidate, evidence.pair.after, matched.after, draft.after),
        kind="difference" if quality else "ratio",
        parity=between(*proved) if len(proved := _proofs(evidence.pair)) == 2 else None,
        across_devices=draft.across_devices,
        seeds=matched.seeds,
        dropped_seeds=matched.dropped,
        mismatches=draft.mismatches,
        notes=notes,
        **measured,
    )


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
    evidence: Evidence, draft: Contrast, p_holm: float | None, margin: float | None, terms: Terms
) -> tuple[Verdict, tuple[str, ...]]:
    """The word and all that must be said beside it."""
    matched = evidence.match_for(draft.metric)
    reason = () if draft.effect is None or draft.effect.reason is None else (draft.effect.reason,)
    notes = (*reason, *draft.notes, *matched.notes)
    if draft.settled is not None or draft.effect is None:
        return draft.settled or "not comparable", notes
    goal, kind = METRICS[draft.metric].goal, family(draft.metric)
    if kind == "quality":
        verdict = quality_verdict(draft.effect, p_holm, goal, margin)
    else:
        verdict = trial_verdict(draft.effect, p_holm, goal, terms.noise.get(draft.metric))
    if kind == "speed" and "differs" in map(verdict_of, _proofs(evidence.pair)):
        return "not comparable", (*notes, "parity failed: one side computes another function")
    if matched.lost and verdict in ("better", "same"):
        return "unsure", (*notes, f"{verdict} on the trials that are left, which is not all")
    return verdict, notes
