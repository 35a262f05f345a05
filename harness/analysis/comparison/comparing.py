"""Compare reports, or the variants of one: align, pair and test them, and adjust over the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypedDict, Unpack

from harness import __version__
from harness.analysis.checks.contradiction import Contradiction
from harness.analysis.checks.verification import verified
from harness.analysis.comparison.alignment import Pair, align_levels, align_reports, axes_apart, pair_labels
from harness.analysis.comparison.compared_rows import Judged, comparison_rows
from harness.analysis.comparison.conditions import CONDITIONS
from harness.analysis.comparison.gathered import Evidence, gather
from harness.analysis.comparison.models import Comparison, ComparisonRow, Mismatch
from harness.analysis.comparison.reasons import disjoint_axes, explain_pairs
from harness.analysis.comparison.sessions import (
    ALLOWED_IN_SESSION,
    Turns,
    axes_of_sides,
    in_one_session,
)
from harness.analysis.comparison.terms import (
    DEFAULT_MARGIN,
    Terms,
    check_terms,
    checked_metrics,
    default_metrics,
    margins_of,
    varies_between_runs,
)
from harness.analysis.over_time.earlier_trials import Use, collect
from harness.analysis.stats.components import ALPHA
from harness.analysis.stats.quality_tests import RESAMPLES
from harness.analysis.stats.ratios import RunVariance
from harness.analysis.stats.sheets import SheetReader
from harness.errors import InvalidInputError, NotComparableError
from harness.model.metrics import metric_named
from harness.model.results import UNSEALED, Report, TrialResult
from harness.words import count

_REASONS_SHOWN: Final = 5


class Options(TypedDict, total=False):
    """The keyword arguments of `compare`, which documents them."""

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
    timeline: Sequence[TrialResult] | None


def compare(reports: Sequence[Report], **options: Unpack[Options]) -> Comparison:
    """Compare every report with the baseline, or with `by` the variants of a single report.

    Args:
        reports: two or more; exactly one with `by`.
        baseline: the place of the report to compare with, or the text or place of the level of the axis.
        by: an axis of the matrix: `padding`, `device`, `train.learning_rate`.
        metrics: names from the table of metrics; by default accuracy, F1 and real tokens per second, or
            examples per second and memory for trials that only tokenise, and all users' metrics.
        margin: of equivalence of two scores (accuracy, F1, MCC): a share of the range of the metric, or a
            margin by metric in its unit.
        allow_mismatch: names of mismatches to ignore; recorded in the result.
        noise: the relative band of the machine noise, by metric.
        run_variance: the variance of a metric between separate runs on this machine; without it, or a history
            of such runs, the speed of separate runs gets no verdict.
        history: reports of earlier runs, in any order, to estimate the variance over seeds for a side with
            one seed, and between separate runs.
        names: the names of the reports; by default their run names.
        speed_across_devices: give verdicts on speed even where the devices differ.
        explain: list differences of environment and configuration, and flipped examples.
        timeline: with `by`, all results of the run where the report has a selection of them: without the
            trials between two others, these seem not to have taken turns.

    Raises:
        InvalidInputError: A term is unknown or out of range.
        NotComparableError: No row can be compared.
    """
    return compare_in_full(reports, **options)[0]


def compare_in_full(  # noqa: PLR0913 - the terms of a comparison, mostly left at their defaults
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
    timeline: Sequence[TrialResult] | None = None,
) -> tuple[Comparison, tuple[Judged, ...]]:
    """Compare reports, and return the comparison with the effects behind its rows; see `compare`.

    Returns:
        The comparison, with one row for each aligned variant, candidate and metric, and the same rows with
        their effects.

    Raises:
        InvalidInputError: A term is unknown or out of range.
        NotComparableError: No row can be compared.
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
        # Trials on different devices of one run may have run concurrently, not in turn.
        interleaved=session or (by is not None and by != "device"),
        one_run=by is not None or session,
        turns=None if by in (None, "device") else Turns(timeline or reports[0].results),
        run_variance=run_variance or {},
        asked=metrics is not None,
    )
    labels = pair_labels(pairs, apart or {"device"})
    earlier = collect(history, reports)
    contradictory = {id(report): _contradictions(report) for report in reports}
    read = SheetReader()
    evidence = [gather(pair, apart, contradictory, read, earlier) for pair in pairs]
    judged = comparison_rows(evidence, labels, reference, terms)
    rows = [each.row for each in judged]
    mismatches = _mismatches(evidence, terms)
    _check_comparable(rows, mismatches, reports)
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
            *_look_notes(reports),
            *_repeated_notes(evidence, reference),
            *_notes(rows, session=session),
            *filter(None, [earlier.left_out(pairs, _uses(terms))]),
        ),
        explanation=explain_pairs(evidence, labels, apart) if explain else None,
    )
    return comparison, tuple(judged)


def _contradictions(report: Report) -> dict[str, tuple[Contradiction, ...]]:
    """Return the contradictions inside each trial, by trial id: a baseline is in many pairs."""
    ids = (result.trial.id for result in report.results)
    return dict(zip(ids, verified(report.results, report.suite.measure.warmup_steps), strict=True))


def _uses(terms: Terms) -> list[Use]:
    """Return the uses of a history for these terms."""
    families = {metric_named(metric).family for metric in terms.metrics}
    uses: list[Use] = ["quality"] if "quality" in families else []
    if not terms.one_run and any(map(varies_between_runs, terms.metrics)):
        uses.append("speed")
    return uses


def _pairs(
    reports: Sequence[Report], baseline: int | str, by: str | None, names: Sequence[str] | None
) -> tuple[str, list[Pair], frozenset[str]]:
    """Return the name of the baseline, the pairs, and the axes that may differ."""
    if by is not None:
        if len(reports) != 1:
            raise InvalidInputError(
                f"variants are compared by {by} inside one report, not across {len(reports)}",
                hint="Give one report with --by, or leave --by away.",
            )
        level, pairs = align_levels(reports[0], by, baseline)
        return level, pairs, axes_apart(by, [result.trial for result in reports[0].results])
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
    """Return the names, with a number appended to duplicates."""
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct


def _mismatches(evidence: Sequence[Evidence], terms: Terms) -> tuple[Mismatch, ...]:
    """Return each mismatch once per candidate and pair of texts."""
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
        notes.append("the devices differ: their speeds are listed side by side, quality is compared as usual")
    return tuple(notes)


def unsealed_notes(reports: Sequence[Report]) -> tuple[str, ...]:
    """Return a note for each report read from a file without a digest."""
    return tuple(f"run {report.run}: {UNSEALED}" for report in reports if UNSEALED in report.notes)


def _look_notes(reports: Sequence[Report]) -> tuple[str, ...]:
    """Return a note for each run whose number of seeds depends on its verdicts."""
    return tuple(
        f"run {report.run} added seeds until its rows were decided: these p-values are not adjusted for its "
        f"{count(len(report.looks.seeds), 'look')}; `harness show` prints the verdicts that are"
        for report in reports
        if report.looks is not None
    )


def _repeated_notes(evidence: Sequence[Evidence], reference: str) -> Iterator[str]:
    """Yield a note for each candidate with results of the baseline, such as a copy of its report."""
    pairs: Counter[str] = Counter()
    repeated: Counter[str] = Counter()
    for each in evidence:
        pairs[each.pair.candidate] += len(each.timed.seeds)
        repeated[each.pair.candidate] += each.timed.repeated
    for candidate, found in repeated.items():
        if found:
            yield (
                f"{candidate} and {reference} share the results of {found} of "
                f"{count(pairs[candidate], 'pair')} of trials, which did not run twice: that they are equal "
                "shows nothing; run the suite again with --fresh, and compare that run"
            )


def _check_comparable(
    rows: Sequence[ComparisonRow], mismatches: Sequence[Mismatch], reports: Sequence[Report]
) -> None:
    if any(row.effect is not None or row.verdict == "same function" for row in rows):
        return
    reasons = Counter(note for row in rows for note in row.notes).most_common(_REASONS_SHOWN)
    found = dict.fromkeys(each.name for each in mismatches if not each.allowed)
    hint = "Run the same suite for both, or compare other reports."
    apart = disjoint_axes(reports)
    if apart and rows and all(row.verdict == "missing" for row in rows):
        reasons = [(f"no variant is in both: {', '.join(apart.values())}", len(rows))]
        hint += f" To compare values of {next(iter(apart))}, give them to one suite, and compare with --by."
    if found:
        allow = " ".join(f"--allow-mismatch {name}" for name in found)
        hint = f"If these differences do not matter to you: {allow}. Otherwise run both on the same terms."
    lines = "".join(f"\n- {reason}" for reason, _ in reasons)
    raise NotComparableError(f"nothing can be compared{lines or ': the reports contain no trial'}", hint=hint)
