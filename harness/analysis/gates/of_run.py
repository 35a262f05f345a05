"""Judge gates right after its run; skip those that cannot be judged, with a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis.gates.check import check
from harness.analysis.gates.models import GateReport
from harness.analysis.gates.rules import bound_rules, drop_rule, replaced
from harness.analysis.stats.ratios import RunVariance
from harness.model.metrics import METRICS
from harness.model.results import Report
from harness.model.suite import Gate


def judge_run(
    report: Report,
    gates: Sequence[Gate],
    baseline: Report | None,
    noise: Mapping[str, float],
    run_variance: Mapping[str, RunVariance],
) -> tuple[GateReport | None, tuple[str, ...]]:
    """Judge a run by gates.

    A drop needs a baseline, and a bound on a score applies to real assets. Without these `check` would be
    red, while a run skips the gate and reports that.

    Returns:
        The check, or None if no gate can be judged; and a message for each skipped gate.

    Raises:
        NotComparableError: The report has nothing in common with the baseline.
    """
    stand_in = next((words for result in report.results if (words := replaced(result))), None)
    kept: list[Gate] = []
    skipped: list[str] = []
    for gate in gates:
        bounds = [rule for rule, _, _ in bound_rules(gate)]
        changes: dict[str, None] = {}
        if gate.max_drop is not None and baseline is None:
            changes["max_drop"] = None
            skipped.append(f"not judged: {drop_rule(gate)}: there is no baseline (--baseline)")
        if bounds and stand_in is not None and METRICS[gate.metric].family == "quality":
            changes |= {"min": None, "max": None}
            skipped.append(f"not judged: {', '.join(bounds)}: {stand_in}")
        left = gate.model_copy(update=changes)
        if any(limit is not None for limit in (left.min, left.max, left.max_drop)):
            kept.append(left)
    if not kept and baseline is None:
        return None, tuple(skipped)
    found = check(report, baseline=baseline, gates=kept, noise=noise, run_variance=run_variance)
    return found, tuple(skipped)
