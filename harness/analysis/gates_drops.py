"""What is judged against a baseline: lost trials, conditions that differ, and how far a metric dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.analysis.alignment import Pair, Variant, align_reports, pair_labels
from harness.analysis.comparison import compare
from harness.analysis.comparison_models import Comparison, ComparisonRow
from harness.analysis.gates_models import CaseVerdict, GateCase
from harness.analysis.gates_rules import drop_rule, seeds_text
from harness.analysis.inputs import mixed_variants
from harness.analysis.verification import unverifiable
from harness.errors import NotComparableError
from harness.metrics import METRICS
from harness.results.models import Report, TrialResult
from harness.suite.models import Gate

# A drop that equals its limit in decimals may exceed it in binary.
_ROUNDING: Final = 1e-12
KEEP_ONE: Final = "harness baseline set REPORT NAME"

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Against:
    """A report beside its baseline. `comparison` is None where every trial that it would need has failed."""

    pairs: Sequence[Pair]
    labels: Sequence[str]
    comparison: Comparison | None
    noise: Mapping[str, float] = field(default_factory=dict)


def set_against(
    report: Report,
    baseline: Report,
    metrics: Sequence[str],
    *,
    allow_mismatch: Sequence[str],
    noise: Mapping[str, float],
) -> Against:
    """Compare a report with its baseline.

    Raises:
        NotComparableError: They share nothing that may be compared, for another reason than that the trials
            of the report failed.
    """
    pairs = align_reports(baseline, report, "report")
    comparison = None
    try:
        comparison = compare(
            [baseline, report],
            metrics=list(dict.fromkeys([*metrics, "eval_accuracy"])),
            allow_mismatch=allow_mismatch,
            noise=noise,
            names=["baseline", "report"],
        )
    except NotComparableError as error:
        # A change that makes every trial fail is a regression, not a lack of anything to compare.
        # Mixed inputs have a failed case of their own.
        if not any(_all_lost(pair) for pair in pairs) and not mixed_variants(report):
            keep = f"A new baseline: run the suite where it is known to be good, then {KEEP_ONE}"
            hint = f"{error.hint or ''}\n{keep}".strip()
            raise NotComparableError(
                error.message.replace("nothing can be compared", "nothing can be compared with the baseline"),
                hint=hint,
            ) from error
    return Against(pairs, pair_labels(pairs, {"device"}), comparison, noise)


def _all_lost(pair: Pair) -> bool:
    return bool(pair.before and _sound(pair.before) and pair.after and not _sound(pair.after))


def _sound(variant: Variant) -> list[int]:
    return sorted(
        seed
        for seed, result in variant.results.items()
        if result.status == "completed" and not result.degenerate
    )


def baseline_cases(against: Against, *, allow_degenerate: bool) -> Iterator[GateCase]:
    """A case for each variant of the baseline: its trials are still here and still end well."""
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
    ways: dict[str, list[int]] = {}
    for seed in wanted:
        if (way := _lost(after.results.get(seed))) and not (way == "degenerate" and allow_degenerate):
            ways.setdefault(way, []).append(seed)
    if ways:
        return "failed", "; ".join(f"{seeds_text(seeds)} {way}" for way, seeds in ways.items())
    return "passed", f"{seeds_text(wanted)} on both sides"


def _lost(result: TrialResult | None) -> str:
    """How a trial was lost; empty if it was not."""
    if result is None:
        return "vanished"
    return ("degenerate" if result.degenerate else "") if result.status == "completed" else result.status


def mismatch_cases(against: Against) -> Iterator[GateCase]:
    """A failed case for each condition that differs, concerns more than speed and was not allowed."""
    for found in against.comparison.mismatches if against.comparison is not None else ():
        if found.affects != "speed" and not found.allowed:
            yield GateCase(
                rule=f"{found.name} as in the baseline",
                kind="mismatch",
                variant=f"{found.rows} {'variant' if found.rows == 1 else 'variants'}",
                verdict="failed",
                reason=f"{found.before} against {found.after}; allow it with --allow-mismatch {found.name}",
            )


def drop_cases(against: Against, gate: Gate) -> Iterator[GateCase]:
    """A case for each aligned variant: whether the metric dropped by more than the gate allows."""
    if against.comparison is None:
        for pair, label in zip(against.pairs, against.labels, strict=True):
            lost = "no trial of it is left to compare" if pair.before else "the baseline has no such variant"
            yield unjudged_drop(gate, label, "failed" if pair.before else "not comparable", lost)
        return
    by_label = dict(zip(against.labels, against.pairs, strict=True))
    for row in against.comparison.rows:
        if row.metric == gate.metric:
            pair = by_label[row.variant]
            if (gap := _unverifiable(pair, gate.metric)) is not None:
                yield unjudged_drop(gate, row.variant, "failed", gap)
            else:
                band = against.noise.get(gate.metric, 0.0)
                yield _drop_case(gate, row, band, is_new=pair.before is None)


def _unverifiable(pair: Pair, metric: str) -> str | None:
    """Why a trial's value of the metric cannot be verified; None where all can, or a side is missing."""
    if pair.before is None or pair.after is None:
        return None
    results = (*pair.before.results.values(), *pair.after.results.values())
    known = (each for each in results if each.status == "completed" and each.value(metric) is not None)
    return next((why for each in known if (why := unverifiable(each, metric))), None)


def unjudged_drop(gate: Gate, variant: str, verdict: CaseVerdict, reason: str) -> GateCase:
    """The case of a drop that nothing could be measured for."""
    known = METRICS[gate.metric]
    return GateCase(
        rule=drop_rule(gate),
        kind="drop",
        variant=variant,
        verdict=verdict,
        reason=reason,
        metric=gate.metric,
        unit=known.unit,
        goal=known.goal,
        limit=_limit(gate),
        relative=isinstance(gate.max_drop, str),
    )


def _drop_case(gate: Gate, row: ComparisonRow, band: float, *, is_new: bool) -> GateCase:
    told = "; ".join(row.notes)
    if row.verdict in ("not comparable", "missing", "failed") or row.effect is None:
        verdict: CaseVerdict = "not comparable" if is_new or row.verdict == "not comparable" else "failed"
        hint = f" (keep a new baseline: {KEEP_ONE})" if is_new else ""
        return unjudged_drop(gate, row.variant, verdict, f"{told or row.verdict}{hint}")
    base = row.baseline.value
    if base is None or (base == 0 and isinstance(gate.max_drop, str)):
        return unjudged_drop(gate, row.variant, "not comparable", f"the baseline is {base}: no share of it")
    relative, limit = isinstance(gate.max_drop, str), _limit(gate)
    drop = _as_drop(row, row.effect, base, relative=relative)
    # A ratio that differs by less than equal runs do is no drop.
    slack = 0.0 if row.kind == "difference" else band * (1.0 if relative else abs(base))
    interval = _interval(row, base, slack, relative=relative)
    low, high = interval or (drop - slack, drop + slack)
    return unjudged_drop(gate, row.variant, _verdict(low, high, limit), "").model_copy(
        update={
            "reason": _sentence(gate, drop, interval),
            "value": row.candidate.value,
            "baseline": base,
            "drop": drop,
            "interval": interval,
            "notes": (*row.notes, *_tight(gate, limit, slack)),
        }
    )


def _verdict(low: float, high: float, limit: float) -> CaseVerdict:
    if high <= limit + _ROUNDING:
        return "passed"
    return "failed" if low > limit + _ROUNDING else "unsure"


def _limit(gate: Gate) -> float:
    """The largest drop: in the metric's unit, or a share where it was written in percent."""
    if isinstance(gate.max_drop, str):
        return float(gate.max_drop[:-1]) / 100
    return gate.max_drop or 0.0


def _as_drop(row: ComparisonRow, effect: float, base: float, *, relative: bool) -> float:
    """An effect as a drop: above zero where the metric got worse in its own direction."""
    sign = -1.0 if row.goal == "max" else 1.0
    if row.kind == "difference":
        return sign * effect / (abs(base) if relative else 1.0) + 0.0
    return sign * (effect - 1) * (1.0 if relative else abs(base)) + 0.0


def _interval(row: ComparisonRow, base: float, slack: float, *, relative: bool) -> Interval | None:
    if row.interval is None:
        return None
    low, high = sorted(_as_drop(row, end, base, relative=relative) for end in row.interval)
    return low - slack, high + slack


def _sentence(gate: Gate, drop: float, interval: Interval | None) -> str:
    scale, unit = (100.0, " %") if isinstance(gate.max_drop, str) else (1.0, "")
    allowed = gate.max_drop if isinstance(gate.max_drop, str) else f"{gate.max_drop:g}"
    around = ""
    if interval is not None:
        around = f" (95 %: {scale * interval[0]:.3g} to {scale * interval[1]:.3g}{unit})"
    return f"drop {scale * drop:.3g}{unit}{around}, allowed {allowed}"


def _tight(gate: Gate, limit: float, slack: float) -> tuple[str, ...]:
    return (f"{drop_rule(gate)} is tighter than this machine's noise",) if limit < slack else ()
