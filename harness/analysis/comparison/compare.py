"""Compare reports, or the variants of one: align, pair, test, adjust over the table, and say it in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, TypedDict, Unpack

from harness import __version__
from harness.analysis.comparison.alignment import Pair, align_levels, align_reports, axes_apart, pair_labels
from harness.analysis.comparison.conditions import CONDITIONS
from harness.analysis.comparison.contrasts import Evidence, gather
from harness.analysis.comparison.explanation import explain_pairs
from harness.analysis.comparison.models import Comparison, ComparisonRow, Mismatch
from harness.analysis.comparison.rows import Judged, comparison_rows
from harness.analysis.comparison.sessions import ALLOWED_IN_SESSION, axes_of_sides, in_one_session
from harness.analysis.comparison.terms import (
    DEFAULT_MARGIN,
    Terms,
    check_terms,
    checked_metrics,
    default_metrics,
    margins_of,
    varies_between_runs,
)
from harness.analysis.history import Use, collect
from harness.analysis.stats.components import ALPHA
from harness.analysis.stats.ratios import RunVariance
from harness.analysis.stats.resampling import RESAMPLES
from harness.errors import InvalidInputError, NotComparableError
from harness.model.metrics import METRICS
from harness.model.results import UNSEALED, Report

_REASONS_SHOWN: Final = 5


class Options(TypedDict, total=False):
    """The keyword arguments of `compare_in_full`, which documents them."""

    baseline: int | str
    by: str | None
    metrics: Sequence[str] | None
    margin: float | Mapping[str, float]
    allow_mismatch: Sequence[str]
    noise: Mapping[str, float] | None
    run_variance: Mapping[str, RunVariance] | None
    history: Sequence[Report]
    names: Sequence[str] | None
    speed_across_devices: bool
    explain: bool


def compare(reports: Sequence[Report], **options: Unpack[Options]) -> Comparison:
    """Compare every report with the baseline, or with `by` the variants of a single report.

    Takes the options of `compare_in_full` and raises its errors.
    """
    return compare_in_full(reports, **options)[0]


def compare_in_full(  # noqa: PLR0913 - the question's terms, each of them a default that most callers keep
    reports: Sequence[Report],
    *,
    baseline: int | str = 0,
    by: str | None = None,
    metrics: Sequence[str] | None = None,
    margin: float | Mapping[str, float] = DEFAULT_MARGIN,
    allow_mismatch: Sequence[str] = (),
    noise: Mapping[str, float] | None = None,
    run_variance: Mapping[str, RunVariance] | None = None,
    history: Sequence[Report] = (),
    names: Sequence[str] | None = None,
    speed_across_devices: bool = False,
    explain: bool = False,
) -> tuple[Comparison, tuple[Judged, ...]]:
    """Compare reports, and return the comparison with the effects behind its rows.

    Args:
        reports: two or more; exactly one with `by`.
        baseline: the place of the report to compare with, or the text or place of the axis's level.
        by: an axis of the matrix: `padding`, `device`, `train.learning_rate`.
        metrics: names from the table of metrics; accuracy, F1 and real tokens a second by default; examples a
            second and memory for trials that only tokenise.
        margin: within which two scores (accuracy, F1, MCC) count as the same: a share of the metric's range,
            or a margin by metric in its unit.
        allow_mismatch: names of mismatches that shall not stand in the way; recorded in the result.
        noise: the relative band, by metric, that the machine's own noise fills.
        run_variance: how much a metric varies between separate runs on this machine; without it, or a history
            of such runs, no verdict on the speed of separate runs is given.
        history: reports of earlier runs, in any order: the variance over seeds where a side has one, and
            between separate runs.
        names: what to call the reports; their runs by default.
        speed_across_devices: give verdicts on speed even where the devices differ.
        explain: tell what differs in environment and configuration, and which examples flipped.

    Returns:
        The comparison, with one row for each aligned variant, candidate and metric, and the same rows with
        their effects.

    Raises:
        InvalidInputError: A term is unknown or out of range.
        NotComparableError: No row holds a comparison.
    """
    chosen = checked_metrics(default_metrics(reports) if metrics is None else metrics)
    check_terms(allow_mismatch, noise or {})
    reference, pairs, apart = _pairs(reports, baseline, by, names)
    session = in_one_session(reports)
    terms = Terms(
        metrics=chosen,
        margins=margins_of(margin, chosen),
        allowed=frozenset(
            [
                *allow_mismatch,
                *(["device"] if speed_across_devices else []),
                *(ALLOWED_IN_SESSION if session else []),
            ]
        ),
        noise=noise or {},
        apart=apart,
        # Trials on different devices of one run may have run at the same time, not in turn.
        interleaved=session or (by is not None and by != "device"),
        one_run=by is not None or session,
        run_variance=run_variance or {},
    )
    labels = pair_labels(pairs, apart or {"device"})
    earlier = collect(history, reports)
    evidence = [gather(pair, apart, earlier) for pair in pairs]
    judged = comparison_rows(evidence, labels, reference, terms)
    rows = [each.row for each in judged]
    mismatches = _mismatches(evidence, terms)
    _check_comparable(rows, mismatches)
    comparison = Comparison(
        harness_version=__version__,
        baseline=reference,
        candidates=tuple(dict.fromkeys(pair.candidate for pair in pairs)),
        by=by,
        margins=dict(terms.margins),
        alpha=ALPHA,
        resamples=RESAMPLES,
        allowed_mismatches=tuple(allow_mismatch),
        speed_across_devices=speed_across_devices,
        noise=dict(terms.noise),
        rows=tuple(rows),
        mismatches=mismatches,
        notes=(
            *unsealed_notes([*reports, *history]),
            *_notes(rows, session=session),
            *filter(None, [earlier.left_out(pairs, _uses(terms))]),
        ),
        explanation=explain_pairs(evidence, labels, apart) if explain else None,
    )
    return comparison, tuple(judged)


def _uses(terms: Terms) -> list[Use]:
    """What a history could be used for."""
    families = {METRICS[metric].family for metric in terms.metrics}
    uses: list[Use] = ["quality"] if "quality" in families else []
    if not terms.one_run and any(map(varies_between_runs, terms.metrics)):
        uses.append("speed")
    return uses


def _pairs(
    reports: Sequence[Report], baseline: int | str, by: str | None, names: Sequence[str] | None
) -> tuple[str, list[Pair], frozenset[str]]:
    """The baseline's name, the pairs, and the axes that differ by intent."""
    if by is not None:
        if len(reports) != 1:
            raise InvalidInputError(
                f"variants are compared by {by} inside one report, not across {len(reports)}",
                hint="Give one report with --by, or leave --by away.",
            )
        level, pairs = align_levels(reports[0], by, baseline)
        return level, pairs, axes_apart(by, pairs[0].axes)
    if len(reports) < 2:
        raise InvalidInputError(
            "one report alone has nothing to be compared with",
            hint="Give a second report, or an axis to compare along: --by padding.",
        )
    if not isinstance(baseline, int) or not 0 <= baseline < len(reports):
        raise InvalidInputError(
            f"baseline {baseline} is none of the {len(reports)} reports", hint="Give its place, from 0."
        )
    titles = _distinct(names or [report.run for report in reports])
    pairs = [
        pair
        for place, report in enumerate(reports)
        if place != baseline
        for pair in align_reports(reports[baseline], report, titles[place])
    ]
    return titles[baseline], pairs, axes_of_sides(reports)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that would stand twice."""
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct


def _mismatches(evidence: Sequence[Evidence], terms: Terms) -> tuple[Mismatch, ...]:
    """What differs where it should not, once for each candidate and pair of texts."""
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for each in evidence:
        for name, (before, after) in (each.timed.mismatches or {}).items():
            counts[name, each.pair.candidate, before, after] += 1
    return tuple(
        Mismatch(
            name=name,
            affects=CONDITIONS[name].affects,
            candidate=candidate,
            before=before,
            after=after,
            rows=rows,
            allowed=name in terms.allowed,
        )
        for (name, candidate, before, after), rows in counts.items()
    )


def _notes(rows: Sequence[ComparisonRow], *, session: bool) -> tuple[str, ...]:
    notes = []
    if session:
        notes.append("one A/B session: the trials of both sides ran in turn; times are paired by seed")
    if any(row.across_devices for row in rows):
        notes.append("the devices differ: their speeds stand side by side, quality is compared as ever")
    return tuple(notes)


def unsealed_notes(reports: Sequence[Report]) -> tuple[str, ...]:
    """A sentence for each report that was read from a file without a digest."""
    return tuple(f"run {report.run}: {UNSEALED}" for report in reports if UNSEALED in report.notes)


def _check_comparable(rows: Sequence[ComparisonRow], mismatches: Sequence[Mismatch]) -> None:
    if any(row.effect is not None for row in rows):
        return
    reasons = Counter(note for row in rows for note in row.notes).most_common(_REASONS_SHOWN)
    found = dict.fromkeys(each.name for each in mismatches if not each.allowed)
    hint = "Run the same suite for both, or compare other reports."
    if found:
        allow = " ".join(f"--allow-mismatch {name}" for name in found)
        hint = f"If these differences do not matter to you: {allow}. Otherwise run both on the same terms."
    said = "".join(f"\n- {reason}" for reason, _ in reasons)
    raise NotComparableError(f"nothing can be compared{said or ': the reports hold no trial'}", hint=hint)
