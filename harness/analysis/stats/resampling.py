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
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.analysis.stats.components import Components, Interaction, Part, interaction
from harness.analysis.stats.scoring import SCORINGS, Floats, Numbers, Scoring, scores
from harness.analysis.stats.tests import Effect, Interval, mcnemar
from harness.model.metrics import METRICS

RESAMPLES: Final = 10_000

_UNKNOWN_SEED: Final = "the effect of another seed is unknown"
_SEED: Final = 20_260_101
# Up to this number, examples are resampled individually and all rows of a table share one weight matrix.
_SHARED_EXAMPLES: Final = 2_048
_BATCH_COLUMNS: Final = 128
_BLOCK: Final = 1 << 22
_SCORES_AT_ONCE: Final = 1 << 20
# Enough to estimate the change of a score per change of accuracy to 2 %.
_RESAMPLES_FOR_UNIT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Case:
    """Predictions to compare a score on.

    `labels` are the true classes (N,); `before` (S, N) and `after` (T, N) the predicted ones, or the numbers
    of `of_logits`: one row per seed, on the same examples. Where `paired`, both sides have the same seeds in
    the same order, and S equals T. With several `variants` the rows are those of each variant in turn, and
    scores are averaged over the variants seed by seed.

    `earlier` are predictions of earlier trials on the same examples, for each recipe (E, N) with E above 1:
    if the sides are not paired, or have one seed each, they contribute to the variance over seeds with
    `earlier_freedom` degrees of freedom.
    """

    metric: str
    labels: Numbers
    before: Numbers
    after: Numbers
    paired: bool = True
    variants: int = 1
    earlier: tuple[Numbers, ...] = ()
    earlier_freedom: float = 0.0

    @property
    def columns(self) -> Numbers:
        """Both sides and the earlier trials, (S + T + E, N)."""
        return np.concatenate([self.before, self.after, *self.earlier])


def compare_quality(cases: Sequence[Case], *, resamples: int = RESAMPLES) -> list[Effect]:
    """Return for each case the score difference, candidate minus baseline, averaged over seeds.

    The effect of a case does not depend on the other cases in the list.
    """
    effects: list[Effect | None] = [_identical(case) for case in cases]
    open_places = [place for place, effect in enumerate(effects) if effect is None]
    for places in _batches(cases, open_places):
        scored = _resample([cases[place] for place in places], resamples)
        for place, each in zip(places, scored, strict=True):
            effects[place] = _effect(cases[place], each)
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


@dataclass(frozen=True, slots=True)
class _Scored:
    """The resampled scores of a case, averaged over the variants, and the interaction of all variants."""

    drawn: Floats
    uneven: Interaction | None


def _effect(case: Case, scored: _Scored) -> Effect:
    """Return the effect of a case from its resampled scores."""
    seeds, examples = len(case.before) // case.variants, case.labels.size
    both = seeds + len(case.after) // case.variants
    drawn = scored.drawn
    observed = _over_variants(case, scores(case.metric, case.labels, case.columns))
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


def _interaction(case: Case, scored: Callable[[slice], Floats]) -> Interaction | None:
    """Estimate the interaction; None without predicted classes.

    `scored` returns the scores of some of the columns of the case in resamples, (S, R).
    """
    if SCORINGS[case.metric].of_logits is not None:
        return None
    right = np.equal(case.columns, case.labels)
    seeds = len(case.before) // case.variants
    sizes = [seeds, len(case.after), *map(len, case.earlier)]
    if case.variants > 1:
        sizes = [seeds] * (len(right) // seeds)
    ends = np.cumsum(sizes)
    return interaction(
        np.split(right, ends[:-1]),
        lambda place: scored(slice(ends[place] - sizes[place], ends[place]))[:, :_RESAMPLES_FOR_UNIT],
    )


def _over_variants(case: Case, values: Floats) -> Floats:
    """Average the scores of columns, (2 x variants x seeds, ...), over variants: (2 x seeds, ...)."""
    if case.variants == 1:
        return values
    sides = values.reshape(2, case.variants, -1, *values.shape[1:])
    averaged = sides.mean(axis=1)
    return np.asarray(averaged.reshape(-1, *values.shape[1:]))


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


def _batches(cases: Sequence[Case], places: Sequence[int]) -> Iterator[list[int]]:
    """Yield places of cases that share one matrix product; few large products have less overhead."""
    groups: dict[Hashable, list[int]] = {}
    for place in places:
        groups.setdefault(_product(cases[place]), []).append(place)
    for group in groups.values():
        columns = max(len(cases[place].columns) for place in group)
        shared = cases[group[0]].labels.size <= _SHARED_EXAMPLES
        step = max(1, _BATCH_COLUMNS // columns) if shared else 1
        yield from (group[start : start + step] for start in range(0, len(group), step))


def _product(case: Case) -> Hashable:
    """Return a key that is equal for cases whose scores one matrix product gives."""
    return (case.labels.size, case.labels.tobytes() if _has_counts(case) else case.metric)


def _has_counts(case: Case) -> bool:
    """Return whether the score follows from the counts of two classes, in resamples of single examples."""
    return (
        SCORINGS[case.metric].of_counts is not None
        and case.labels.size <= _SHARED_EXAMPLES
        and all(int(each.max()) <= 1 for each in (case.labels, case.before, case.after, *case.earlier))
    )


def _resample(cases: Sequence[Case], resamples: int) -> list[_Scored]:
    """Return the scores of each case in resamples of the examples; the cases share a product."""
    if _has_counts(cases[0]):
        return _resample_counts(cases, resamples)
    found = _resample_features(cases, resamples)
    return [
        _Scored(_over_variants(case, each), _interaction(case, each.__getitem__))
        for case, each in zip(cases, found, strict=True)
    ]


def _resample_features(cases: Sequence[Case], resamples: int) -> list[Floats]:
    """Return for each case the score of every column in every resample of the examples, (2S, R).

    The cases share metric and number of examples.
    """
    scoring, examples = SCORINGS[cases[0].metric], cases[0].labels.size
    if examples > _SHARED_EXAMPLES:
        return [_resample_kinds(case, scoring, resamples) for case in cases]
    features = [scoring.features(case.labels, case.columns) for case in cases]
    rows = np.concatenate([each.reshape(-1, examples) for each in features]).astype(np.float32, copy=False)
    sums = rows @ _shared_weights(examples, resamples).astype(np.float32)
    ends = np.cumsum([each.shape[0] * each.shape[1] for each in features])[:-1]
    return [
        scoring.combine(part.astype(np.float64).reshape(*each.shape[:2], resamples), examples)
        for part, each in zip(np.split(sums, ends), features, strict=True)
    ]


def _resample_counts(cases: Sequence[Case], resamples: int) -> list[_Scored]:
    """Resample true and false positives, which give every score of two classes, once for each column.

    The cases share their labels. True positives are among the members of class 1 and false ones among the
    others, so that both together take one product as long as the examples.
    """
    actual = cases[0].labels == 1
    of_members, of_others, members = _weights_of_classes(actual.tobytes(), resamples)
    texts = [[column.tobytes() for column in case.columns == 1] for case in cases]
    place = {text: at for at, text in enumerate(dict.fromkeys(chain.from_iterable(texts)))}
    guessed = np.frombuffer(b"".join(place), dtype=np.bool_).reshape(len(place), -1)
    right, wrong = guessed[:, actual].astype(np.float32), guessed[:, ~actual].astype(np.float32)
    rows = [[place[text] for text in of_case] for of_case in texts]

    def counts(at: slice | Sequence[int], some: slice) -> Floats:
        hits = right[at] @ of_members[:, some]
        positives = hits + wrong[at] @ of_others[:, some]
        return np.stack([hits, positives, np.broadcast_to(members[some], hits.shape)])

    def first(case: Case, at: Sequence[int], columns: slice) -> Floats:
        return _of_counts(case.metric, counts(at[columns], slice(_RESAMPLES_FOR_UNIT)), actual.size)

    drawn = [np.empty((len(at) // case.variants, resamples)) for case, at in zip(cases, rows, strict=True)]
    # All variants of an axis have thousands of columns, of which only the means over variants are kept.
    width = max(1, _SCORES_AT_ONCE // max(len(place), *map(len, rows)))
    for start in range(0, resamples, width):
        some = slice(start, start + width)
        found = counts(slice(None), some)
        of_columns = {metric: _of_counts(metric, found, actual.size) for metric in {e.metric for e in cases}}
        for case, at, into in zip(cases, rows, drawn, strict=True):
            into[:, some] = _over_variants(case, of_columns[case.metric][at])
    return [
        _Scored(each, _interaction(case, partial(first, case, at) if case.variants > 1 else each.__getitem__))
        for case, at, each in zip(cases, rows, drawn, strict=True)
    ]


def _of_counts(metric: str, counts: Floats, examples: int) -> Floats:
    scoring = SCORINGS[metric]
    assert scoring.of_counts is not None
    return scoring.combine(scoring.of_counts(counts, examples).astype(np.float64), examples)


@lru_cache(maxsize=2)
def _weights_of_classes(
    actual: bytes, resamples: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the weights of the members of class 1, those of the others, and the members in each resample."""
    members = np.frombuffer(actual, dtype=np.bool_)
    weights = _shared_weights(members.size, resamples)
    of_members, of_others = weights[members].astype(np.float32), weights[~members].astype(np.float32)
    return of_members, of_others, of_members.sum(axis=0)


def _resample_kinds(case: Case, scoring: Scoring, resamples: int) -> Floats:
    """Resample examples in groups: those equal in every column are interchangeable, so draw counts."""
    kinds, sizes = np.unique(np.vstack([case.labels, case.columns]), axis=1, return_counts=True)
    features = scoring.features(kinds[0], kinds[1:]).astype(np.float32, copy=False)
    blocks = []
    for weights in _weights_of_kinds(sizes, resamples):
        sums = (features.reshape(-1, sizes.size) @ weights).astype(np.float64)
        blocks.append(scoring.combine(sums.reshape(*features.shape[:2], -1), case.labels.size))
    return np.concatenate(blocks, axis=1)


@lru_cache(maxsize=2)
def _shared_weights(examples: int, resamples: int) -> NDArray[np.uint16]:
    """Return the count of each example in each resample, (N, R); it is at most `_SHARED_EXAMPLES`."""
    generator = np.random.default_rng([_SEED, examples])
    drawn = generator.integers(0, examples, size=(resamples, examples))
    drawn += np.arange(resamples)[:, None] * examples
    counts = np.bincount(drawn.ravel(), minlength=resamples * examples)
    weights = np.ascontiguousarray(counts.reshape(resamples, examples).T, dtype=np.uint16)
    weights.setflags(write=False)
    return weights


def _weights_of_kinds(sizes: NDArray[Any], resamples: int) -> Iterator[NDArray[np.float32]]:
    generator = np.random.default_rng([_SEED, int(sizes.sum())])
    shares = sizes / sizes.sum()
    rows = max(1, min(resamples, _BLOCK // sizes.size))
    for start in range(0, resamples, rows):
        drawn = generator.multinomial(sizes.sum(), shares, size=min(rows, resamples - start))
        yield np.ascontiguousarray(drawn.T, dtype=np.float32)
