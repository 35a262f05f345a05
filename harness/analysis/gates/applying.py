"""Gates: judge a report, alone and against a baseline. A case that cannot be judged does not pass.

Right after its run, gates of a suite that cannot be judged yet are skipped, with a reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness import __version__
from harness.analysis.comparison.comparing import unsealed_notes
from harness.analysis.comparison.conditions import check_allowed
from harness.analysis.gates.against import Against, cases_against, set_against
from harness.analysis.gates.alone import cases_alone
from harness.analysis.gates.cases import GateCase, GateReport, OnUnsure, Outcome
from harness.analysis.gates.rules import (
    Group,
    bound_rules,
    drop_rule,
    groups,
    never_failing,
    replaced,
    tighter_than_noise,
)
from harness.analysis.naming import only_tokenise
from harness.analysis.stats.ratios import RunVariance
from harness.model.metrics import OWN, is_metric
from harness.model.results import Report
from harness.model.suite import Gate


def check(  # noqa: PLR0913 - the terms of a check, mostly left at their defaults
    report: Report,
    *,
    baseline: Report | None = None,
    gates: Sequence[Gate] | None = None,
    on_unsure: OnUnsure = "warn",
    allow_mismatch: Sequence[str] = (),
    allow_degenerate: bool = False,
    noise: Mapping[str, float] | None = None,
    run_variance: Mapping[str, RunVariance] | None = None,
    history: Sequence[Report] = (),
) -> GateReport:
    """Judge a report by its gates.

    Independently of the gates, every trial must have completed and changed its parameters, none may predict a
    single class, no variant may have failed parity or its proof of training, no stored numbers may contradict
    each other, no score may exceed the reference of the suite by more than 0.03, and with a baseline all of
    its trials must exist in the report, on the same inputs.

    Args:
        report: the report of a run.
        baseline: the report that drops are measured against.
        gates: the rules; None uses those of the suite of the report.
        on_unsure: whether a case that the statistics cannot decide is red: `warn` no, `fail` and `more` yes;
            `more` is for callers that add the seeds that the cases ask for.
        allow_mismatch: names of mismatches to ignore; recorded in the result.
        allow_degenerate: accept trials that predict a single class; means exclude them.
        noise: the relative band of the machine noise, by metric.
        run_variance: as in `compare`.
        history: as in `compare`.

    Returns:
        One case for each rule and variant.

    Raises:
        InvalidInputError: A term is unknown.
        NotComparableError: The report has nothing in common with the baseline.
    """
    check_allowed(allow_mismatch)
    rules = tuple(dict.fromkeys(report.suite.gates if gates is None else gates))
    found = groups(report)
    drops = [gate for gate in rules if gate.max_drop is not None and is_metric(gate.metric)]
    against = None
    if baseline is not None:
        against = set_against(
            report,
            baseline,
            [gate.metric for gate in drops],
            allow_mismatch=allow_mismatch,
            noise=noise or {},
            run_variance=run_variance or {},
            history=history,
        )
    cases = [
        *cases_alone(report, found, rules, allow_mismatch, allow_degenerate=allow_degenerate),
        *cases_against(against, found, drops, allow_degenerate=allow_degenerate),
    ]
    return GateReport(
        harness_version=__version__,
        suite=report.suite.name,
        report=report.run,
        baseline=None if baseline is None else baseline.run,
        outcome=_outcome(cases, on_unsure),
        on_unsure=on_unsure,
        allow_degenerate=allow_degenerate,
        allowed_mismatches=tuple(allow_mismatch),
        noise=dict(noise or {}),
        cases=tuple(cases),
        mismatches=() if against is None or against.comparison is None else against.comparison.mismatches,
        notes=tuple(_notes(report, found, rules, against, noise or {}, history)),
    )


def _outcome(cases: Sequence[GateCase], on_unsure: OnUnsure) -> Outcome:
    """Return the outcome: red unless all cases passed, or are unsure and `on_unsure` is `warn`."""
    unsure = any(case.verdict == "unsure" for case in cases)
    if any(case.verdict == "failed" for case in cases) or (unsure and on_unsure != "warn"):
        return "fail"
    barred = {case.kind for case in cases if case.verdict == "not comparable"}
    judged = {case.kind for case in cases if case.verdict != "not comparable"}
    if not barred:
        return "unsure" if unsure else "pass"
    return "fail" if barred & judged else "not comparable"


def _notes(
    report: Report,
    found: Sequence[Group],
    rules: Sequence[Gate],
    against: Against | None,
    noise: Mapping[str, float],
    history: Sequence[Report],
) -> Iterator[str]:
    if against is None:
        yield from unsealed_notes([report])
        if history:
            yield "history not used: there is no baseline, so that nothing is compared"
    if own := sorted({gate.metric for gate in rules if gate.metric.startswith(OWN)}):
        yield f"{', '.join(own)}: as stored; `harness rescore` computes them again from the logits"
    if not rules:
        yield "no gate on a metric: only the rules for every report were checked"
    if not report.proofs and not only_tokenise(result.trial for result in report.results):
        yield "parity was not proven: the report contains no proof"
    if not report.training_proofs and not only_tokenise(result.trial for result in report.results):
        yield "training was not proven: the report has no proof of training"
    if report.suite.reference and any(map(replaced, (each for group in found for each in group.results))):
        yield "the reference applies to the real assets and was not compared with stand-ins"
    yield from never_failing(rules)
    yield from tighter_than_noise(rules, noise)
    if against is not None:
        yield from against.comparison.notes if against.comparison is not None else ()
        new = [
            label for pair, label in zip(against.pairs, against.labels, strict=True) if pair.before is None
        ]
        if new:
            yield f"not in the baseline: {', '.join(new)}"


def judge_run(
    report: Report,
    gates: Sequence[Gate],
    baseline: Report | None,
    noise: Mapping[str, float],
    run_variance: Mapping[str, RunVariance],
) -> tuple[GateReport | None, tuple[str, ...]]:
    """Judge a run by gates.

    A drop needs a baseline, and a bound applies to real assets. Without these `check` would be
    red, while a run skips the gate and reports that.

    Returns:
        The check, or None if no gate can be judged; and a message for each skipped gate.

    Raises:
        NotComparableError: The report has nothing in common with the baseline.
    """
    kept: list[Gate] = []
    skipped: list[str] = []
    for gate in gates:
        judged = (each for each in report.results if gate.task in (None, each.trial.task.name))
        stand_in = next((words for result in judged if (words := replaced(result))), None)
        bounds = [rule for rule, _, _ in bound_rules(gate)]
        changes: dict[str, None] = {}
        if gate.max_drop is not None and baseline is None:
            changes["max_drop"] = None
            skipped.append(f"not judged: {drop_rule(gate)}: there is no baseline (--baseline)")
        if bounds and stand_in is not None:
            changes |= {"min": None, "max": None}
            skipped.append(f"not judged: {', '.join(bounds)}: {stand_in}")
        left = gate.model_copy(update=changes)
        if any(limit is not None for limit in (left.min, left.max, left.max_drop)):
            kept.append(left)
    if not kept and baseline is None:
        return None, tuple(skipped)
    found = check(report, baseline=baseline, gates=kept, noise=noise, run_variance=run_variance)
    return found, tuple(skipped)
