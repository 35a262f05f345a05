"""Explanation: differences of environment, configuration and inputs, and flipped examples."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np

from harness.analysis.comparison.conditions import environment_of
from harness.analysis.comparison.gathered import Evidence
from harness.analysis.comparison.models import Explanation, FieldChange, Flip, Flips
from harness.analysis.naming import attention_of, axes
from harness.analysis.stats.sheets import PairedSheets
from harness.model.results import Report, TrialResult
from harness.model.seeds import Seed

_VALUES_SHOWN: Final = 3


def explain_pairs(evidence: Sequence[Evidence], labels: Sequence[str], apart: Collection[str]) -> Explanation:
    """Return all differences of these pairs, each once per candidate.

    `apart` are the axes along which variants of one report are compared; empty between reports.
    """
    environment: dict[FieldChange, None] = {}
    inputs: dict[FieldChange, None] = {}
    configuration: dict[FieldChange, None] = {}
    flips = []
    for each, label in zip(evidence, labels, strict=True):
        name = each.pair.candidate
        if each.pair.before is None or each.pair.after is None:
            continue
        configuration |= dict.fromkeys(
            _changes(name, _configuration(each, 0, apart), _configuration(each, 1, apart))
        )
        # Unpaired sides differ in length: list differences up to the shorter one.
        for before, after in zip(each.timed.before, each.timed.after, strict=False):
            described = (
                _environment(before, each.pair.before.report, apart),
                _environment(after, each.pair.after.report, apart),
            )
            environment |= dict.fromkeys(_changes(name, *described))
            inputs |= dict.fromkeys(_changes(name, _inputs(before), _inputs(after)))
        if isinstance(each.paired, PairedSheets) and each.match.paired:
            flips.append(Flips(variant=label, candidate=name, flips=_flips(each.paired, each.match.seeds)))
    return Explanation(
        environment=tuple(environment),
        configuration=tuple(configuration),
        inputs=tuple(inputs),
        flips=tuple(flips),
    )


def _configuration(evidence: Evidence, side: int, apart: Collection[str]) -> dict[str, str]:
    """Return the configuration: the whole suite between reports, the axes of the trial inside one."""
    variant = (evidence.pair.before, evidence.pair.after)[side]
    assert variant is not None
    if apart:
        return dict(variant.axes)
    return {"identity_version": variant.report.identity_version} | _flat(
        variant.report.suite.model_dump(mode="json")
    )


def _environment(result: TrialResult, report: Report, apart: Collection[str]) -> dict[str, str]:
    """Return the environment and the resolved attention, without fields that fluctuate."""
    dumped = environment_of(result, report).model_dump(mode="json", exclude={"load_average"})
    fields = {"harness_version": report.harness_version} | _flat(dumped)
    fields.pop("device.clock_mhz", None)
    if "attention" not in apart:
        fields["attention"] = attention_of(result)
    return fields


def _inputs(result: TrialResult) -> dict[str, str]:
    """Return the checkpoint and the data that were used."""
    parts = {"checkpoint": result.checkpoint, "data": result.data}
    return _flat({name: part.model_dump(mode="json") for name, part in parts.items() if part is not None})


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Flatten a nested document to texts by dotted name; lists stay whole."""
    if not isinstance(value, Mapping):
        return {} if value is None else {name: str(value)}
    return {
        key: text
        for child, inner in value.items()
        for key, text in _flat(inner, f"{name}.{child}" if name else str(child)).items()
    }


def _changes(candidate: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[FieldChange]:
    return [
        FieldChange(candidate=candidate, field=name, before=before.get(name), after=after.get(name))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def _flips(paired: PairedSheets, seeds: Sequence[Seed]) -> tuple[Flip, ...]:
    return tuple(
        Flip(
            seed=seed,
            example_id=int(paired.ids[row]),
            label=int(paired.labels[row]),
            before=int(before.predicted[row]),
            after=int(after.predicted[row]),
        )
        for seed, before, after in zip(seeds, paired.before, paired.after, strict=True)
        # Outputs of a regression are numbers, which flip nothing.
        if not before.regression
        for row in np.flatnonzero(before.predicted != after.predicted)
    )


def disjoint_axes(reports: Sequence[Report]) -> dict[str, str]:
    """Return each axis of which two reports have no value in common, in words: why no variant is in both."""
    first, *others = (_values_of_axes(report) for report in reports)
    found: dict[str, str] = {}
    for other, report in zip(others, reports[1:], strict=True):
        for name in first.keys() & other.keys():
            if first[name].isdisjoint(other[name]):
                sides = " and ".join(
                    f"{', '.join(sorted(values)[:_VALUES_SHOWN])} in {run}"
                    for values, run in ((first[name], reports[0].run), (other[name], report.run))
                )
                found[name] = f"{name} is {sides}"
    return dict(sorted(found.items()))


def _values_of_axes(report: Report) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for results in report.variants().values():
        for name, value in axes(results[0].trial).items():
            found.setdefault(name, set()).add(value)
    return found
