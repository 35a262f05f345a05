"""Quality: the variance of a score's difference over examples and seeds, by the bootstrap over examples.

A row of the comparison has one column of predictions for each seed of either side, all on the same examples.
Both seeds and examples are samples, as are readers and cases in a diagnostic study. Percentiles of a joint
bootstrap would be wrong in two ways: the residual variance is counted three times (Owen 2007, "The pigeonhole
bootstrap"), and the variance over a handful of seeds is underestimated. So the bootstrap over examples
yields components of variance, and these are combined with degrees of freedom as Hillis (2007) does for
studies of many readers.

With one seed per side the variance over seeds comes from earlier trials of the recipe. Without these it is
unknown, and the test covers this pair of models only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from scipy import special

from harness.analysis.stats.components import Components, Part
from harness.analysis.stats.resampling import Case, Scored, over_variants, resampled
from harness.analysis.stats.scoring import SCORINGS, Floats, scores
from harness.analysis.stats.tests import Effect, Interval, mcnemar
from harness.model.metrics import METRICS

RESAMPLES: Final = 10_000

_UNKNOWN_SEED: Final = "the effect of another seed is unknown"


def compare_quality(cases: Sequence[Case], *, resamples: int = RESAMPLES) -> list[Effect]:
    """Return for each case the score difference, candidate minus baseline, averaged over seeds.

    The effect of a case does not depend on the other cases in the list.
    """
    effects: list[Effect | None] = [_identical(case) for case in cases]
    open_places = [place for place, effect in enumerate(effects) if effect is None]
    for place, scored in resampled(cases, open_places, resamples):
        effects[place] = _effect(cases[place], scored)
    return [effect for effect in effects if effect is not None]


@dataclass(frozen=True, slots=True)
class Drawn:
    """The scores of the seeds of one side (S,), and the same in resamples of the examples (S, R)."""

    observed: Floats
    resampled: Floats


def compare_drawn(before: Drawn, after: Drawn, examples: int, *, paired: bool) -> Effect:
    """Return the difference of scores that were resampled elsewhere, candidate minus baseline.

    Both sides were scored on the same resamples of the same examples; where `paired`, with the same seeds in
    the same order. The step of an unknown score is estimated by the change of a share by one example.
    """
    value = float(after.observed.mean() - before.observed.mean())
    effect = Effect(value, center=value, trials=min(before.observed.size, after.observed.size))
    seeds = before.observed.size + after.observed.size
    if examples < 2:
        return replace(effect, reason="one example: no error can be estimated")
    if seeds == 2:
        return _of_this_pair(effect, after.resampled[0] - before.resampled[0], examples)
    resampled = np.concatenate([before.resampled, after.resampled])
    step = 2 * float(resampled.std(axis=1, ddof=1).mean()) / math.sqrt(examples)
    if paired:
        components = _paired(
            after.observed - before.observed, after.resampled - before.resampled, examples, step=step
        )
    else:
        components = _unpaired(
            [before.observed.size, after.observed.size],
            np.concatenate([before.observed, after.observed]),
            resampled,
            examples,
            step=step,
        )
    if components.error == 0:
        return replace(effect, reason="neither seeds nor examples differ: no p-value")
    test = "paired seeds and examples" if paired else "unpaired seeds, paired examples"
    few = Part(components.added[0].variance, min(examples, resampled.shape[1]) - 1.0)
    return replace(effect, test=test, components=replace(components, added=(few,)))


def _identical(case: Case) -> Effect | None:
    if not np.array_equal(case.before, case.after):
        return None
    return Effect(
        0.0,
        trials=len(case.before),
        discordant=_discordant(case),
        reason=f"the predictions agree on all {case.labels.size} examples",
        identical=True,
    )


def _effect(case: Case, scored: Scored) -> Effect:
    """Return the effect of a case from its resampled scores."""
    seeds, examples = len(case.before) // case.variants, case.labels.size
    both = seeds + len(case.after) // case.variants
    drawn = scored.drawn
    observed = over_variants(case, scores(case.metric, case.labels, case.columns))
    base = float(observed[:seeds].mean())
    effect = Effect(
        value=float(observed[seeds:both].mean()) - base,
        bounds=_bounds(case, base),
        reach=_reach(case, base),
        trials=min(seeds, len(case.after)),
        discordant=_discordant(case),
    )
    effect = replace(effect, center=effect.value)
    if examples < 2:
        return replace(effect, reason="one example: no error can be estimated")
    if both == 2:
        effect = _of_this_pair(effect, drawn[1] - drawn[0], examples)
    if len(observed) == 2:
        return effect
    if case.paired and both > 2:
        differences, of_resamples = observed[seeds:] - observed[:seeds], drawn[seeds:] - drawn[:seeds]
        components = _paired(differences, of_resamples, examples, step=_step(case))
        test = "paired seeds and examples"
    else:
        counts = [len(side) for side in (case.before, case.after, *case.earlier)]
        components = _unpaired(counts, observed, drawn, examples, step=_step(case), more=case.earlier_freedom)
        test = "paired examples, variance over seeds of earlier runs"
        if both > 2:
            test = "unpaired seeds, paired examples"
    if components.error == 0:
        return replace(effect, reason="neither seeds nor examples differ: no p-value")
    components = replace(components, interaction=scored.uneven)
    return replace(effect, test=test, components=components, reason=None, lacks=None)


def _discordant(case: Case) -> tuple[int, int] | None:
    """Count the examples that only one side classifies correctly, if McNemar's test applies."""
    if case.metric != "eval_accuracy" or len(case.before) + len(case.after) > 2:
        return None
    before, after = case.before[0] == case.labels, case.after[0] == case.labels
    return int((before & ~after).sum()), int((after & ~before).sum())


def _step(case: Case) -> float:
    """Return the change of a score by one example, roughly; zero for losses, which are continuous."""
    metric = METRICS[case.metric]
    return (metric.most - metric.least) / case.labels.size / case.variants if metric.bounded else 0.0


def _bounds(case: Case, base: float) -> Interval:
    metric = METRICS[case.metric]
    return metric.least - base, metric.most - base


def _reach(case: Case, base: float) -> float:
    """Return the largest relevant difference: up to the best score, or down to a constant prediction."""
    metric = METRICS[case.metric]
    if not metric.bounded:
        return math.inf
    if SCORINGS[case.metric].of_logits is not None:
        return max(base - metric.least, metric.most - base)
    classes = int(max(case.labels.max(), case.before.max(), case.after.max())) + 1
    return max(metric.most - base, base - _chance(case.metric, tuple(case.labels.tolist()), classes))


@lru_cache(maxsize=64)
def _chance(metric: str, labels: tuple[int, ...], classes: int) -> float:
    """Return the best score of a constant prediction."""
    constant = np.repeat(np.arange(classes)[:, None], len(labels), axis=1)
    return float(scores(metric, np.asarray(labels), constant).max())


def _of_this_pair(effect: Effect, drawn: Floats, examples: int) -> Effect:
    """Test one pair of models: by exact McNemar for accuracy, else by the bootstrap over examples."""
    if effect.discordant is not None:
        p = mcnemar(*effect.discordant)
        test = "exact McNemar"
    else:
        error = float(drawn.std(ddof=1))
        p = float(2 * special.stdtr(examples - 1, -abs(effect.value) / error)) if error > 0 else None
        test = "paired bootstrap"
    evidence = "no example separates them" if p is None else f"p = {_p_text(p)}"
    reason = f"this pair of models differs on these examples ({evidence}); {_UNKNOWN_SEED}"
    return replace(effect, test=test, pair_p=p, reason=reason, lacks="seeds")


def _p_text(p: float) -> str:
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def _paired(differences: Floats, drawn: Floats, examples: int, *, step: float) -> Components:
    """Return the components of the mean difference over paired seeds; differences (S,), drawn (S, R).

    Seeds are not resampled: given the examples, the variance over seeds has a closed form. Each component is
    corrected for the bias of a plug-in estimate. Scores move in steps of about `step`, so that a few seeds
    often have nearly equal differences by chance: a squared step is added to their variance, which
    matters with two or three seeds only.
    """
    seeds = differences.size
    between = Part((float(differences.var(ddof=1)) + step**2) / seeds, seeds - 1)
    residual = _residual(drawn) * seeds / (seeds - 1) / seeds
    return _components(between, residual, drawn.mean(axis=0), examples)


def _unpaired(
    counts: Sequence[int], observed: Floats, drawn: Floats, examples: int, *, step: float, more: float = 0.0
) -> Components:
    """Return the components for sides with different seeds, or one seed each.

    `counts` are the seeds of both sides and of each recipe of earlier trials, which add `more` degrees of
    freedom. The variance over seeds is pooled over the earlier trials and the sides with several seeds, and
    is also used for a side with one seed.
    """
    groups = [slice(end - count, end) for count, end in zip(counts, np.cumsum(counts), strict=True)]
    several = [group for group, count in zip(groups, counts, strict=True) if count > 1]
    weight = sum(observed[group].size - 1.0 for group in several)
    scatter = sum(float(observed[group].var(ddof=1)) * (observed[group].size - 1) for group in several)
    noise = sum(_residual(drawn[group]) * observed[group].size for group in several)
    share = sum(1 / count for count in counts[:2])
    freedom = sum(count - 1.0 for count in counts[:2]) + more
    change = drawn[groups[1]].mean(axis=0) - drawn[groups[0]].mean(axis=0)
    # As in `_paired`: a few scores are often nearly equal by chance.
    between = Part((scatter / weight + step**2) * share, freedom)
    return _components(between, noise / weight * share, change, examples)


def _residual(drawn: Floats) -> float:
    """Return the mean variance over resamples of the deviations from the mean over seeds; drawn (S, R)."""
    return float((drawn - drawn.mean(axis=0)).var(axis=1).mean())


def _components(between: Part, residual: float, change: Floats, examples: int) -> Components:
    unbiased = examples / (examples - 1)
    by_example, residual = float(change.var()) * unbiased, residual * unbiased
    return Components(
        between,
        added=(Part(max(by_example - residual, 0.0), examples - 1.0),),
        floor=by_example,
        least=min(residual, by_example),
    )
