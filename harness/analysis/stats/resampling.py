"""The bootstrap over examples: the scores of rows of a comparison in resamples of their examples.

Rows on equally many examples share their resamples, and those with equal labels also most of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.analysis.stats.components import Interaction, interaction
from harness.analysis.stats.scoring import SCORINGS, Counts, Floats, Numbers, Scoring

_SEED: Final = 20_260_101
# Up to this number, examples are resampled individually and all rows of a table share one weight matrix.
_SHARED_EXAMPLES: Final = 2_048
_BATCH_COLUMNS: Final = 128
_BLOCK: Final = 1 << 22
# Few enough for a cache, in products that are wide enough.
_SCORES_AT_ONCE: Final = 1 << 17
_LEAST_WIDTH: Final = 100
_RESAMPLES_AT_ONCE: Final = 500
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


@dataclass(frozen=True, slots=True)
class Scored:
    """The resampled scores of a case, averaged over the variants, and the interaction of all variants."""

    drawn: Floats
    uneven: Interaction | None


def over_variants(case: Case, values: Floats) -> Floats:
    """Average the scores of columns, (2 x variants x seeds, ...), over variants: (2 x seeds, ...)."""
    if case.variants == 1:
        return values
    sides = values.reshape(2, case.variants, -1, *values.shape[1:])
    averaged = sides.mean(axis=1)
    return np.asarray(averaged.reshape(-1, *values.shape[1:]))


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


def resampled(cases: Sequence[Case], places: Sequence[int], resamples: int) -> Iterator[tuple[int, Scored]]:
    """Yield the scores of the cases at these places in resamples of their examples, in any order."""
    for group in _batches(cases, places):
        yield from zip(group, _resample([cases[place] for place in group], resamples), strict=True)


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


def _resample(cases: Sequence[Case], resamples: int) -> list[Scored]:
    """Return the scores of each case in resamples of the examples; the cases share a product."""
    if _has_counts(cases[0]):
        return _resample_counts(cases, resamples)
    found = _resample_features(cases, resamples)
    return [
        Scored(over_variants(case, each), _interaction(case, each.__getitem__))
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


def _resample_counts(cases: Sequence[Case], resamples: int) -> list[Scored]:
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

    def counts(at: slice | Sequence[int], some: slice) -> Counts:
        hits = right[at] @ of_members[:, some]
        guessed = wrong[at] @ of_others[:, some]
        guessed += hits
        return hits, guessed, members[some]

    def first(case: Case, at: Sequence[int], columns: slice) -> Floats:
        return _of_counts(case.metric, counts(at[columns], slice(_RESAMPLES_FOR_UNIT)), actual.size)

    drawn = [np.empty((len(at) // case.variants, resamples)) for case, at in zip(cases, rows, strict=True)]
    # All variants of an axis have thousands of columns, of which only the means over variants are kept.
    width = max(_LEAST_WIDTH, _SCORES_AT_ONCE // max(len(place), *map(len, rows)))
    for start in range(0, resamples, width):
        some = slice(start, start + width)
        found = counts(slice(None), some)
        of_columns = {metric: _of_counts(metric, found, actual.size) for metric in {e.metric for e in cases}}
        for case, at, into in zip(cases, rows, drawn, strict=True):
            into[:, some] = over_variants(case, of_columns[case.metric][at])
    return [
        Scored(each, _interaction(case, partial(first, case, at) if case.variants > 1 else each.__getitem__))
        for case, at, each in zip(cases, rows, drawn, strict=True)
    ]


def _of_counts(metric: str, counts: Counts, examples: int) -> Floats:
    scoring = SCORINGS[metric]
    assert scoring.of_counts is not None
    return scoring.combine(scoring.of_counts(counts, examples).astype(np.float64, copy=False), examples)


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
    weights = np.empty((examples, resamples), dtype=np.uint16)
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        some = weights[:, start : start + _RESAMPLES_AT_ONCE]
        drawn = generator.integers(0, examples, size=some.T.shape)
        drawn += np.arange(len(drawn))[:, None] * examples
        some[:] = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).T
    weights.setflags(write=False)
    return weights


def _weights_of_kinds(sizes: NDArray[Any], resamples: int) -> Iterator[NDArray[np.float32]]:
    generator = np.random.default_rng([_SEED, int(sizes.sum())])
    shares = sizes / sizes.sum()
    rows = max(1, min(resamples, _BLOCK // sizes.size))
    for start in range(0, resamples, rows):
        drawn = generator.multinomial(sizes.sum(), shares, size=min(rows, resamples - start))
        yield np.ascontiguousarray(drawn.T, dtype=np.float32)
