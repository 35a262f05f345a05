"""One effect over all variants of a comparison along an axis: is bucketed faster, whatever the checkpoint?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from harness.analysis.comparison.contrasts import Contrast
from harness.analysis.comparison.gathered import Evidence
from harness.analysis.sharing import trained_by
from harness.analysis.stats.components import Components, Part
from harness.analysis.stats.resampling import Case
from harness.analysis.stats.tests import Effect


def aggregates(
    rows: Sequence[tuple[Evidence, Contrast]],
) -> Iterator[tuple[Evidence, Contrast, int]]:
    """Yield for each candidate, task and metric the contrast over all variants, and the number of variants.

    Groups are skipped if they have only one variant, or a variant without an effect: a mean over the
    remaining variants would have a different meaning. Variants that share their trainings on both sides count
    once.
    """
    groups: dict[tuple[object, ...], list[tuple[Evidence, Contrast]]] = {}
    for evidence, contrast in rows:
        pair = evidence.pair
        task = tuple(each for each in pair.axes.items() if each[0].partition(".")[0] == "task")
        groups.setdefault((pair.candidate, task, contrast.metric), []).append((evidence, contrast))
    for group in map(_each_once, groups.values()):
        contrasts = [contrast for _, contrast in group]
        if len(group) < 2 or any(each.settled is not None or each.effect is None for each in contrasts):
            continue
        found = _quality(contrasts) if contrasts[0].case is not None else _trials(contrasts)
        if found is not None:
            yield group[0][0], found, len(group)


def _each_once(group: Sequence[tuple[Evidence, Contrast]]) -> list[tuple[Evidence, Contrast]]:
    """Return the contrasts of scores without those of the same trainings as an earlier one."""
    found: dict[object, tuple[Evidence, Contrast]] = {}
    for place, (evidence, contrast) in enumerate(group):
        sides = (evidence.match.before, evidence.match.after)
        trained = tuple(tuple(map(trained_by, side)) for side in sides)
        found.setdefault(place if contrast.case is None else trained, (evidence, contrast))
    return list(found.values())


def _quality(contrasts: Sequence[Contrast]) -> Contrast | None:
    """Return all variants as one case; None if examples or seeds differ, or with one seed."""
    cases = [each.case for each in contrasts if each.case is not None]
    first = cases[0]
    comparable = all(
        case.paired and len(case.before) == len(first.before) and np.array_equal(case.labels, first.labels)
        for case in cases
    )
    if len(cases) != len(contrasts) or not comparable or len(first.before) < 2:
        return None
    case = Case(
        first.metric,
        first.labels,
        np.concatenate([case.before for case in cases]),
        np.concatenate([case.after for case in cases]),
        variants=len(cases),
    )
    return _summary(contrasts, case=case, effect=None)


def _trials(contrasts: Sequence[Contrast]) -> Contrast | None:
    """Return the geometric mean of the ratios of all variants.

    The error is the scatter of the trials with several trials per side, else the scatter of the ratios over
    the variants.
    """
    effects = [each.effect for each in contrasts if each.effect is not None]
    if any(not effect.ratio for effect in effects):
        return None
    center = fmean(effect.center for effect in effects)
    effect = Effect(
        math.exp(center), ratio=True, center=center, bounds=effects[0].bounds, reach=effects[0].reach
    )
    known = [effect.components for effect in effects if effect.components is not None]
    if len(known) == len(effects):
        components = _pooled(known)
        trials = min(each.trials for each in effects)
        return _summary(
            contrasts,
            effect=replace(
                effect, components=components, trials=trials, test="t of logarithms, pooled over variants"
            ),
        )
    if any(each.trials > 1 for each in effects):
        return None
    between = float(np.var([each.center for each in effects], ddof=1)) / len(effects)
    if between == 0:
        return None
    return _summary(
        contrasts,
        effect=replace(
            effect,
            components=Components(Part(between, len(effects) - 1.0)),
            test="t of logarithms over variants",
        ),
    )


def _pooled(known: Sequence[Components]) -> Components:
    """Return the components of a mean over independent effects."""
    count = len(known)
    variances = [each.between.variance / count**2 for each in known]
    uncertainty = sum(
        variance**2 / each.between.freedom for variance, each in zip(variances, known, strict=True)
    )
    total = sum(variances)
    floor = sum(each.floor for each in known) / count**2
    # The state of the machine is common to all variants of a run: its variance is not averaged away.
    return replace(known[0], between=Part(total, total**2 / uncertainty), floor=floor, least=floor)


def _summary(contrasts: Sequence[Contrast], *, effect: Effect | None, case: Case | None = None) -> Contrast:
    return Contrast(
        contrasts[0].metric,
        case=case,
        effect=effect,
        mismatches=tuple(dict.fromkeys(name for each in contrasts for name in each.mismatches)),
        across_devices=any(each.across_devices for each in contrasts),
    )
