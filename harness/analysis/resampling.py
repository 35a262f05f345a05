"""Quality, paired: what resampling examples, and seeds where there are several, says of a difference.

A row of the comparison holds one column of predictions for each seed of either side, all on the same
examples. For one seed accuracy is tested by exact McNemar, and intervals are the bootstrap's percentiles over
examples, which needs no correction at the sizes of evaluation sets.

For several seeds both seeds and examples are a sample of what might have been, as readers and cases are in a
study of diagnoses. Drawing both at once and reading off percentiles is wrong twice over: the residual
variance is counted three times (Owen 2007, "The pigeonhole bootstrap"), and the variance of the handful of
seeds one can afford too little. With three seeds that are alike it gave 0.3 % false alarms instead of 5 %,
with three that differ much 13 %. So the joint bootstrap yields the components of variance; they are put
together, with degrees of freedom for Student's t, as Hillis (2007) does for studies of many readers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.analysis.scoring import SCORINGS, Floats, Numbers, scores
from harness.analysis.statistics import (
    Effect,
    Interval,
    mcnemar,
    mcnemar_detectable,
    t_detectable,
    t_interval,
    t_p_value,
)

RESAMPLES: Final = 10_000

_SEED: Final = 20_260_101
# Up to here every example is resampled by itself and all rows of a table share one matrix of weights.
_SHARED_EXAMPLES: Final = 2_048
_BLOCK: Final = 1 << 22


def compare_quality(
    metric: str, labels: Numbers, baseline: Numbers, candidate: Numbers, *, resamples: int = RESAMPLES
) -> Effect:
    """The difference of a score, candidate minus baseline, averaged over seeds.

    Args:
        metric: a name in `SCORINGS`.
        labels: the right classes, (N,).
        baseline: predicted classes, or losses for `eval_loss`, (S, N): one row a seed.
        candidate: the same of the other side, with the same seeds and examples in the same order.
        resamples: how often the examples are drawn.

    Returns:
        The estimate; the same arguments always give the same one.
    """
    seeds, examples = baseline.shape
    columns = np.concatenate([baseline, candidate])
    observed = scores(metric, labels, columns)
    differences = observed[seeds:] - observed[:seeds]
    discordant = (
        _discordant(labels, baseline, candidate) if metric == "eval_accuracy" and seeds == 1 else None
    )
    if np.array_equal(baseline, candidate):
        detectable = discordant and mcnemar_detectable(examples, 0)
        reason = f"the predictions agree on all {examples} examples: nothing to test"
        return Effect(0.0, detectable=detectable, discordant=discordant, reason=reason)
    resampled = _resample(metric, labels, columns, resamples)
    drawn = resampled[seeds:] - resampled[:seeds]
    if seeds == 1:
        return _one_seed(float(differences[0]), drawn[0], examples, discordant)
    return _several_seeds(differences, drawn, examples)


def _discordant(labels: Numbers, baseline: Numbers, candidate: Numbers) -> tuple[int, int]:
    before, after = baseline[0] == labels, candidate[0] == labels
    return int((before & ~after).sum()), int((after & ~before).sum())


def _one_seed(effect: float, drawn: Floats, examples: int, discordant: tuple[int, int] | None) -> Effect:
    narrow, interval = _percentiles(drawn)
    if discordant is not None:
        p = mcnemar(*discordant)
        return Effect(
            effect,
            test="exact McNemar",
            interval=interval,
            narrow=narrow,
            p=p,
            detectable=mcnemar_detectable(examples, sum(discordant)),
            discordant=discordant,
            reason="no example is right in one and wrong in the other" if p is None else None,
        )
    error = float(drawn.std(ddof=1))
    if error == 0 or examples < 2:
        return Effect(effect, interval=interval, narrow=narrow, reason="no resample differs: no p-value")
    freedom = examples - 1
    return Effect(
        effect,
        test="paired bootstrap",
        interval=interval,
        narrow=narrow,
        p=t_p_value(effect, error, freedom),
        detectable=t_detectable(error, freedom),
    )


def _several_seeds(differences: Floats, drawn: Floats, examples: int) -> Effect:
    effect = float(differences.mean())
    variance, freedom = _variance(differences, drawn, examples)
    if variance == 0 or not math.isfinite(freedom):
        return Effect(effect, reason="neither seeds nor examples differ: no p-value")
    error = math.sqrt(variance)
    return Effect(
        effect,
        test="joint bootstrap",
        interval=t_interval(effect, error, freedom, 0.95),
        narrow=t_interval(effect, error, freedom, 0.90),
        p=t_p_value(effect, error, freedom),
        detectable=t_detectable(error, freedom),
    )


def _variance(differences: Floats, drawn: Floats, examples: int) -> tuple[float, float]:
    """Variance of the mean difference and its degrees of freedom; differences (S,), drawn (S, R).

    The part of the joint bootstrap that draws seeds needs no drawing: given the examples, its variance over
    seeds has a closed form. Each component is freed of the bias of a plug-in estimate. The variance over
    examples alone is a floor, as few seeds may agree by chance.
    """
    seeds = differences.size
    if examples < 2:
        return 0.0, math.inf
    means = drawn.mean(axis=0)
    by_seed = float(differences.var(ddof=1)) / seeds
    by_example = float(means.var()) * examples / (examples - 1)
    plug_in = float((drawn - means).var(axis=1).sum()) / seeds**2
    residual = plug_in * seeds / (seeds - 1) * examples / (examples - 1)
    variance = max(by_seed + max(by_example - residual, 0.0), by_example)
    uncertainty = by_seed**2 / (seeds - 1) + by_example**2 / (examples - 1)
    return variance, variance**2 / uncertainty if uncertainty > 0 else math.inf


def _percentiles(drawn: Floats) -> tuple[Interval, Interval]:
    """The 90 % and the 95 % percentile interval."""
    low, lower, upper, high = np.quantile(drawn, [0.025, 0.05, 0.95, 0.975])
    return (float(lower), float(upper)), (float(low), float(high))


def _resample(metric: str, labels: Numbers, columns: Numbers, resamples: int) -> Floats:
    """The score of every column in every resample of the examples: (P, R)."""
    examples = labels.size
    if examples <= _SHARED_EXAMPLES:
        return _score(metric, labels, columns, _shared_weights(examples, resamples), examples)
    # Examples that are alike in every column are interchangeable: it is enough to draw how many of each.
    kinds, sizes = np.unique(np.vstack([labels, columns]), axis=1, return_counts=True)
    blocks = [
        _score(metric, kinds[0], kinds[1:], weights, examples)
        for weights in _weights_of_kinds(sizes, resamples)
    ]
    return np.concatenate(blocks, axis=1)


def _score(metric: str, labels: Numbers, columns: Numbers, weights: Floats, examples: int) -> Floats:
    scoring = SCORINGS[metric]
    features = scoring.features(labels, columns)
    sums = (features.reshape(-1, labels.size) @ weights).astype(np.float64)
    return scoring.combine(sums.reshape(*features.shape[:2], -1), examples)


@lru_cache(maxsize=2)
def _shared_weights(examples: int, resamples: int) -> NDArray[np.float32]:
    """How often each example is drawn in each resample, (N, R); whole numbers that float32 holds exactly."""
    generator = np.random.default_rng([_SEED, examples])
    drawn = generator.integers(0, examples, size=(resamples, examples))
    drawn += np.arange(resamples)[:, None] * examples
    counts = np.bincount(drawn.ravel(), minlength=resamples * examples)
    weights = np.ascontiguousarray(counts.reshape(resamples, examples).T, dtype=np.float32)
    weights.setflags(write=False)
    return weights


def _weights_of_kinds(sizes: NDArray[Any], resamples: int) -> Iterator[NDArray[np.float32]]:
    generator = np.random.default_rng([_SEED, int(sizes.sum())])
    shares = sizes / sizes.sum()
    rows = max(1, min(resamples, _BLOCK // sizes.size))
    for start in range(0, resamples, rows):
        drawn = generator.multinomial(sizes.sum(), shares, size=min(rows, resamples - start))
        yield np.ascontiguousarray(drawn.T, dtype=np.float32)
