"""Cases that need a baseline: lost trials, mismatches, and drops of a metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.analysis.checks.inputs import mixed_variants
from harness.analysis.checks.unverifiable import unverifiable
from harness.analysis.comparison.alignment import Pair, Variant, align_reports, pair_labels
from harness.analysis.comparison.compared_rows import Judged
from harness.analysis.comparison.comparing import compare_in_full
from harness.analysis.comparison.models import Comparison, ComparisonRow
from harness.analysis.comparison.sessions import axes_of_sides
from harness.analysis.gates.cases import CaseVerdict, GateCase
from harness.analysis.gates.drops import Drop, allowed_drop, drops_of, judge_drops
from harness.analysis.gates.rules import Group, drop_rule, of_task, seeds_text
from harness.analysis.stats.ratios import RunVariance
from harness.errors import NotComparableError
from harness.model.metrics import metric_named
from harness.model.results import Report, TrialResult
from harness.model.seeds import Seed
from harness.model.suite import Gate
from harness.model.tasks import quality_headlines

KEEP_ONE: Final = "harness baseline set REPORT NAME"
_NO_BASELINE: Final = f"there is no baseline: give one with --baseline; to keep one: {KEEP_ONE}"


@dataclass(frozen=True, slots=True)
class Against:
    """A report and its baseline. `comparison` is None if all the trials that it needs failed.

    `judged` are the rows of the comparison with their effects.
    """

    pairs: Sequence[Pair]
    labels: Sequence[str]
    comparison: Comparison | None
    judged: Sequence[Judged] = ()


def set_against(  # noqa: PLR0913 - the terms of `check`, all of which a comparison needs
    report: Report,
    baseline: Report,
    metrics: Sequence[str],
    *,
    allow_mismatch: Sequence[str],
    noise: Mapping[str, float],
    run_variance: Mapping[str, RunVariance],
    history: Sequence[Report],
) -> Against:
    """Compare a report with its baseline.

    Raises:
        NotComparableError: They have nothing comparable in common, and not because trials of the report
            failed.
    """
    pairs = align_reports(baseline, report, "report")
    first = [quality_headlines([task])[0] for task in report.suite.tasks]
    comparison: Comparison | None = None
    judged: Sequence[Judged] = ()
    try:
        comparison, judged = compare_in_full(
            [baseline, report],
            metrics=list(dict.fromkeys([*metrics, *first])),
            allow_mismatch=allow_mismatch,
            noise=noise,
            run_variance=run_variance,
            history=history,
            names=["baseline", "report"],
        )
    except NotComparableError as error:
        # If every trial fails, that is a regression, not a lack of comparable trials.
        # Mixed inputs have a separate failed case.
        if not any(_all_lost(pair) for pair in pairs) and not mixed_variants(report):
            keep = f"A new baseline: run the suite where it is known to be good, then {KEEP_ONE}"
            hint = f"{error.hint or ''}\n{keep}".strip()
            raise NotComparableError(
                error.message.replace("nothing can be compared", "nothing can be compared with the baseline"),
                hint=hint,
            ) from error
    apart = axes_of_sides([baseline, report]) or {"device"}
    return Against(pairs, pair_labels(pairs, apart), comparison, judged)


def _all_lost(pair: Pair) -> bool:
    return bool(pair.before and _sound(pair.before) and pair.after and not _sound(pair.after))


def _sound(variant: Variant) -> list[Seed]:
    return sorted(seed for seed, result in variant.results.items() if result.sound)


def cases_against(
    against: Against | None, found: Sequence[Group], drops: Sequence[Gate], *, allow_degenerate: bool
) -> Iterator[GateCase]:
    """Yield every case that needs a baseline; without one, every drop is not comparable."""
    if against is None:
        for gate in drops:
            for group in of_task(gate, found):
                yield unjudged_drop(gate, group.label, "not comparable", _NO_BASELINE)
        return
    yield from baseline_cases(against, allow_degenerate=allow_degenerate)
    yield from mismatch_cases(against)
    yield from drop_cases(against, drops)


def baseline_cases(against: Against, *, allow_degenerate: bool) -> Iterator[GateCase]:
    """Yield a case for each variant of the baseline: its trials still exist and complete."""
    for pair, label in zip(against.pairs, against.labels, strict=True):
        if pair.before is None:
            continue
        verdict, reason = _kept(pair.before, pair.after, allow_degenerate=allow_degenerate)
        yield GateCase(
            rule="every trial of the baseline is here",
            kind="baseline",
            variant=label,
            verdict=verdict,
            reason=reason,
        )


def _kept(before: Variant, after: Variant | None, *, allow_degenerate: bool) -> tuple[CaseVerdict, str]:
    wanted = _sound(before)
    if not wanted:
        return "not comparable", f"the baseline has no sound trial of it; keep a better one: {KEEP_ONE}"
    if after is None:
        return "failed", "vanished: the report has no such variant"
    ways: dict[str, list[Seed]] = {}
    for seed in wanted:
        if (way := _lost(after.results.get(seed))) and not (way == "degenerate" and allow_degenerate):
            ways.setdefault(way, []).append(seed)
    if ways:
        return "failed", "; ".join(f"{seeds_text(seeds)} {way}" for way, seeds in ways.items())
    return "passed", f"{seeds_text(wanted)} on both sides"


def _lost(result: TrialResult | None) -> str:
    """Return how a trial was lost, or "" if it was not."""
    if result is None:
        return "vanished"
    if result.sound:
        return ""
    return "degenerate" if result.status == "completed" else result.status


def mismatch_cases(against: Against) -> Iterator[GateCase]:
    """Yield a failed case for each mismatch that affects more than speed and is not allowed."""
    for found in against.comparison.mismatches if against.comparison is not None else ():
        if found.affects != "speed" and not found.allowed:
            yield GateCase(
                rule=f"{found.name} as in the baseline",
                kind="mismatch",
                variant=f"{found.rows} {'variant' if found.rows == 1 else 'variants'}",
                verdict="failed",
                reason=f"{found.before} against {found.after}; allow it with --allow-mismatch {found.name}",
            )


def drop_cases(against: Against, gates: Sequence[Gate]) -> Iterator[GateCase]:
    """Yield a case for each drop gate and aligned variant, with a common adjustment."""
    cases: list[GateCase | Drop] = []
    pairs = dict(zip(against.labels, against.pairs, strict=True))
    for gate in gates:
        if against.comparison is None:
            cases += _without_comparison(against, gate)
            continue
        for found in drops_of(gate, against.judged):
            pair = pairs[found.row.variant]
            if gate.task not in (None, pair.task.name):
                continue
            if (gap := _unverifiable(pair, gate.metric)) is not None:
                cases.append(unjudged_drop(gate, found.row.variant, "failed", gap))
            elif isinstance(found, Drop):
                cases.append(found)
            else:
                cases.append(_barred(gate, found.row, is_new=pair.before is None))
    judged = iter(judge_drops([each for each in cases if isinstance(each, Drop)]))
    for each in cases:
        yield next(judged) if isinstance(each, Drop) else each


def _without_comparison(against: Against, gate: Gate) -> Iterator[GateCase]:
    for pair, label in zip(against.pairs, against.labels, strict=True):
        if gate.task not in (None, pair.task.name):
            continue
        lost = "it has no usable trial to compare" if pair.before else "the baseline has no such variant"
        yield unjudged_drop(gate, label, "failed" if pair.before else "not comparable", lost)


def _barred(gate: Gate, row: ComparisonRow, *, is_new: bool) -> GateCase:
    """Return the case of a row without a testable effect."""
    if row.baseline.value == 0 and row.effect is not None:
        return unjudged_drop(gate, row.variant, "not comparable", "the baseline is 0: no share of it")
    verdict: CaseVerdict = "not comparable" if is_new or row.verdict == "not comparable" else "failed"
    hint = f" (keep a new baseline: {KEEP_ONE})" if is_new else ""
    return unjudged_drop(gate, row.variant, verdict, f"{'; '.join(row.notes) or row.verdict}{hint}")


def _unverifiable(pair: Pair, metric: str) -> str | None:
    """Return why a value of the metric cannot be verified; None if all can, or a side is missing."""
    if pair.before is None or pair.after is None:
        return None
    results = (*pair.before.results.values(), *pair.after.results.values())
    known = (each for each in results if each.status == "completed" and each.value(metric) is not None)
    return next((why for each in known if (why := unverifiable(each, metric))), None)


def unjudged_drop(gate: Gate, variant: str, verdict: CaseVerdict, reason: str) -> GateCase:
    """Return the case of a drop without a measurement."""
    known = metric_named(gate.metric)
    return GateCase(
        rule=drop_rule(gate),
        kind="drop",
        variant=variant,
        verdict=verdict,
        reason=reason,
        metric=gate.metric,
        unit=known.unit,
        goal=known.goal,
        limit=allowed_drop(gate),
        relative=isinstance(gate.max_drop, str),
    )
