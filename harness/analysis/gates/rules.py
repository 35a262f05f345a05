"""Rules in words, and the values that rules apply to; shared by all cases of a check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import fmean

from harness.analysis.checks.contradiction import Contradiction
from harness.analysis.checks.inputs import mixed_variants
from harness.analysis.checks.verification import verified
from harness.analysis.naming import labels
from harness.model.metrics import OWN, Goal, is_metric, is_own, metric_named
from harness.model.quality import OwnScores
from harness.model.results import Report, TrialResult
from harness.model.seeds import Seed
from harness.model.suite import Gate


@dataclass(frozen=True, slots=True)
class Group:
    """The trials of one variant with its label.

    `contradictions` include the id of the trial; `mixed` maps a condition to the differences of the inputs.
    `own` are the scores by users' metrics, by their names in gates.
    """

    variant: str
    label: str
    results: tuple[TrialResult, ...]
    contradictions: tuple[tuple[str, Contradiction], ...] = ()
    mixed: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, OwnScores] = field(default_factory=dict)

    @property
    def sound(self) -> tuple[TrialResult, ...]:
        """The completed trials that predict more than one class."""
        return tuple(result for result in self.results if result.sound)

    def values(self, metric: str) -> list[float]:
        """Return the value of each sound trial that has one."""
        found = (self._value(result, metric) for result in self.sound)
        return [value for value in found if value is not None]

    def mean(self, metric: str) -> float | None:
        """Return the mean over the sound trials that measured the metric, or None."""
        found = self.values(metric)
        return fmean(found) if found else None

    def goal(self, metric: str) -> Goal | None:
        """Return the direction that is better, or None for a metric that the report does not have."""
        if metric in self.own:
            return self.own[metric].goal
        return metric_named(metric).goal if is_metric(metric) and not is_own(metric) else None

    def why_unmeasured(self, metric: str) -> str | None:
        """Return why sound trials lack a value of the metric; None if each has one."""
        if not self.sound:
            return "no value: no trial completed soundly"
        lacking = [result for result in self.sound if self._value(result, metric) is None]
        if not lacking:
            return None
        if not is_own(metric):
            found = (result.measurement(metric) for result in lacking)
            reasons = [each.reason for each in found if each is not None]
        else:
            scores = self.own[metric].scores if metric in self.own else {}
            reasons = [score.reason for one in lacking if (score := scores.get(one.trial.id)) is not None]
        reason = next(filter(None, reasons), "the report does not contain it")
        seeds = seeds_text([result.trial.seed for result in lacking])
        return f"no value{'' if len(lacking) == len(self.sound) else f' of {seeds}'}: {reason}"

    def _value(self, result: TrialResult, metric: str) -> float | None:
        if not is_own(metric):
            return result.value(metric)
        score = self.own[metric].scores.get(result.trial.id) if metric in self.own else None
        return None if score is None else score.value


def groups(report: Report) -> list[Group]:
    """Return the variants of a report in plan order."""
    names = labels(result.trial for result in report.results)
    warmup_steps = report.suite.measure.warmup_steps
    mixed = mixed_variants(report)
    own = {OWN + found.label: found for found in report.own_metrics}
    ids = (result.trial.id for result in report.results)
    contradicting = dict(zip(ids, verified(report.results, warmup_steps), strict=True))
    return [
        Group(
            variant=variant,
            label=names[variant],
            results=results,
            contradictions=tuple(
                (one.trial.id, each) for one in results for each in contradicting[one.trial.id]
            ),
            mixed=mixed.get(variant, {}),
            own=own,
        )
        for variant, results in report.variants().items()
    ]


def of_task(gate: Gate, found: Sequence[Group]) -> list[Group]:
    """Return the variants that a gate judges: all, or those of its task."""
    return [group for group in found if gate.task in (None, group.results[0].trial.task.name)]


def bound_rules(gate: Gate) -> Iterator[tuple[str, float, bool]]:
    """Yield the absolute bounds of a gate: the rule in words, the limit, and whether it is a lower bound."""
    where = "" if gate.task is None else f" of {gate.task}"
    if gate.min is not None:
        yield f"{gate.metric}{where} >= {gate.min:g}", gate.min, True
    if gate.max is not None:
        yield f"{gate.metric}{where} <= {gate.max:g}", gate.max, False


def drop_rule(gate: Gate) -> str:
    """Return the drop rule of a gate in words; a percentage stays a percentage."""
    limit = gate.max_drop if isinstance(gate.max_drop, str) else f"{gate.max_drop:g}"
    where = "" if gate.task is None else f" of {gate.task}"
    return f"{gate.metric}{where} drop <= {limit}"


def replaced(result: TrialResult) -> str | None:
    """Describe the stand-in that replaces a requested asset, or return None."""
    checkpoint, data = result.checkpoint, result.data
    if checkpoint is not None and checkpoint.stand_in:
        return f"{checkpoint.name} stands in for {checkpoint.requested}"
    if data is not None and data.synthetic and data.name != data.requested:
        return f"the synthetic {data.name} stands in for {data.requested}"
    return None


def contradiction(group: Group, metric: str) -> str | None:
    """Describe the first contradiction between a stored value of the metric and others, or return None."""
    found = (f"trial {trial}: {each}" for trial, each in group.contradictions if metric in each.metrics)
    return next(found, None)


def seeds_text(seeds: Sequence[Seed]) -> str:
    """Return `seed 1` or `seeds 0, 2`."""
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def tighter_than_noise(gates: Sequence[Gate], noise: Mapping[str, float]) -> list[str]:
    """Return a note for each drop limit in percent that is below the machine noise."""
    return [
        f"{drop_rule(gate)} is tighter than this machine's noise of ±{100 * noise[gate.metric]:.2g} %: equal "
        "runs can differ by more"
        for gate in gates
        if isinstance(gate.max_drop, str)
        and gate.metric in noise
        and float(gate.max_drop[:-1]) / 100 < noise[gate.metric]
    ]


def never_failing(gates: Sequence[Gate]) -> list[str]:
    """Return a note for each rule that no possible value of its metric breaks."""
    return [f"{rule} can never fail: {metric} is {about}" for rule, metric, about in _never_failing(gates)]


def _never_failing(gates: Sequence[Gate]) -> Iterator[tuple[str, str, str]]:
    for gate in gates:
        if not is_metric(gate.metric) or is_own(gate.metric):
            continue
        metric = metric_named(gate.metric)
        for rule, limit, lower in bound_rules(gate):
            if limit <= metric.least if lower else limit >= metric.most:
                yield rule, gate.metric, metric.range
        if isinstance(gate.max_drop, str):
            most = 1.0 if metric.goal == "max" and metric.least >= 0 else inf
            allowed = float(gate.max_drop[:-1]) / 100
        else:
            most, allowed = metric.most - metric.least, -inf if gate.max_drop is None else gate.max_drop
        if allowed >= most:
            yield drop_rule(gate), gate.metric, metric.range
