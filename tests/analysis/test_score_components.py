"""Components of variance of a score: those of an analysis of variance of the examples that are right.

The variance of a mean over resampled examples is the variance over examples divided by their number, so that
every part that the bootstrap estimates has a closed form for accuracy.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.analysis.stats.components import Components, Part
from harness.analysis.stats.quality_tests import Drawn, compare_drawn, compare_quality
from harness.analysis.stats.resampling import Case, resampled
from harness.analysis.stats.scoring import scores

EXAMPLES = 200
RESAMPLES = 10_000
Right = NDArray[np.float64]


def uneven(before: int, after: int, *, paired: bool = True, seed: int = 0) -> Case:
    """Sides that differ in some examples much more than in others, as a change of a recipe does."""
    random = np.random.default_rng([seed, before, after])
    labels = (random.random(EXAMPLES) < 0.68).astype(np.int64)
    shares = random.beta(2, 0.7, EXAMPLES), random.beta(2, 0.7, EXAMPLES)
    first, second = (
        np.where(random.random((seeds, EXAMPLES)) < share, labels, 1 - labels)
        for seeds, share in zip((before, after), shares, strict=True)
    )
    return Case("eval_accuracy", labels, first, second, paired=paired)


def right(case: Case) -> tuple[Right, Right]:
    """Which examples each seed of both sides has right, as 0 and 1."""
    first, second = ((side == case.labels).astype(float) for side in (case.before, case.after))
    return first, second


def paired_parts(differences: Right, step: float) -> Components:
    """The parts of a mean over seeds and examples, from the differences (S, N)."""
    seeds, examples = differences.shape
    of_seeds = differences.mean(axis=1)
    rest = differences - of_seeds[:, None] - differences.mean(axis=0) + differences.mean()
    residual = (rest**2).sum() / (seeds - 1) / (examples - 1) / seeds / examples
    by_example = differences.mean(axis=0).var(ddof=1) / examples
    return Components(
        Part((of_seeds.var(ddof=1) + step**2) / seeds, seeds - 1),
        (Part(max(by_example - residual, 0.0), examples - 1),),
        floor=by_example,
        least=min(residual, by_example),
    )


def unpaired_parts(before: Right, after: Right, step: float) -> Components:
    """The parts of a difference of two means: the scatter over the seeds of each side is pooled."""
    groups, examples = (before, after), before.shape[1]
    freedom = sum(len(each) - 1 for each in groups)
    share = sum(1 / len(each) for each in groups)
    scatter = sum(((each.mean(axis=1) - each.mean()) ** 2).sum() for each in groups) / freedom
    rests = (
        each - each.mean(axis=1)[:, None] - each.mean(axis=0) + each.mean()
        for each in groups
        if len(each) > 1
    )
    residual = sum((rest**2).sum() for rest in rests) / freedom / (examples - 1) / examples * share
    by_example = (after.mean(axis=0) - before.mean(axis=0)).var(ddof=1) / examples
    return Components(
        Part((scatter + step**2) * share, freedom),
        (Part(max(by_example - residual, 0.0), examples - 1),),
        floor=by_example,
        least=min(residual, by_example),
    )


def assert_parts(found: Components | None, expected: Components) -> None:
    assert found is not None
    assert found.between.freedom == pytest.approx(expected.between.freedom)
    assert found.between.variance == pytest.approx(expected.between.variance, rel=1e-6)
    (added,), (wanted,) = found.added, expected.added
    assert added.freedom == pytest.approx(wanted.freedom)
    # The share of examples is estimated by the resamples, to 1.4 % each.
    assert added.variance == pytest.approx(wanted.variance, abs=0.06 * expected.floor)
    assert found.floor == pytest.approx(expected.floor, rel=0.05)
    assert found.least == pytest.approx(expected.least, rel=0.05)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_paired_seeds_have_the_parts_of_a_two_way_analysis_of_variance(seeds: int) -> None:
    case = uneven(seeds, seeds)
    before, after = right(case)
    expected = paired_parts(after - before, 1 / EXAMPLES)
    assert expected.added_variance > 0.2 * expected.floor
    (found,) = compare_quality([case], resamples=RESAMPLES)
    assert found.value == pytest.approx((after - before).mean())
    assert found.trials == seeds
    assert_parts(found.components, expected)


@pytest.mark.parametrize(("before", "after"), [(3, 3), (4, 2), (1, 3), (5, 1)])
def test_unpaired_seeds_have_the_pooled_parts_of_both_sides(before: int, after: int) -> None:
    case = uneven(before, after, paired=False)
    expected = unpaired_parts(*right(case), 1 / EXAMPLES)
    assert expected.added_variance > 0.2 * expected.floor
    (found,) = compare_quality([case], resamples=RESAMPLES)
    assert found.trials == min(before, after)
    assert_parts(found.components, expected)


def test_earlier_seeds_are_pooled_into_the_variance_over_seeds_and_no_other_part() -> None:
    case = uneven(1, 3, paired=False)
    recipes = [right(uneven(count, 1, seed=7))[0] for count in (4, 2)]
    columns = tuple(np.where(each == 1, case.labels, 1 - case.labels) for each in recipes)
    more = replace(case, earlier=columns, earlier_freedom=3.5)
    (found,) = compare_quality([more], resamples=RESAMPLES)
    before, after = right(case)
    groups = [after, *recipes]
    freedom = sum(len(each) - 1 for each in groups)
    scatter = sum(((each.mean(axis=1) - each.mean()) ** 2).sum() for each in groups) / freedom
    assert found.components is not None
    assert found.components.between.variance == pytest.approx((scatter + EXAMPLES**-2) * (1 + 1 / 3))
    assert found.components.between.freedom == 2 + 3.5
    by_example = (after.mean(axis=0) - before.mean(axis=0)).var(ddof=1) / EXAMPLES
    assert found.components.floor == pytest.approx(by_example, rel=0.05)
    assert found.value == pytest.approx(after.mean() - before.mean())
    assert found.trials == 1


def drawn(case: Case) -> tuple[Drawn, Drawn]:
    """Both sides of a case as scores that were resampled elsewhere."""
    ((_, found),) = resampled([replace(case, paired=False)], [0], RESAMPLES)
    observed = scores(case.metric, case.labels, case.columns)
    first = len(case.before)
    return Drawn(observed[:first], found.drawn[:first]), Drawn(observed[first:], found.drawn[first:])


@pytest.mark.parametrize(("before", "after"), [(2, 2), (5, 5), (4, 2), (1, 3), (3, 1)])
def test_scores_resampled_elsewhere_have_the_parts_of_the_same_score(before: int, after: int) -> None:
    case = uneven(before, after, paired=before == after, seed=1)
    sides = drawn(case)
    found = compare_drawn(*sides, EXAMPLES, paired=case.paired)
    spread = np.concatenate([side.resampled for side in sides]).std(axis=1, ddof=1).mean()
    step = 2 * float(spread) / EXAMPLES**0.5
    # The step of an unknown score is that of a share: at most one example, and less away from a half.
    assert 0.7 / EXAMPLES < step < 1 / EXAMPLES
    first, second = right(case)
    expected = paired_parts(second - first, step) if case.paired else unpaired_parts(first, second, step)
    assert found.value == found.center == pytest.approx(second.mean() - first.mean())
    assert found.trials == min(before, after)
    assert_parts(found.components, expected)


def test_one_seed_a_side_tests_the_pair_as_the_same_score_does() -> None:
    case = replace(uneven(1, 1), metric="eval_f1")
    (known,) = compare_quality([case], resamples=RESAMPLES)
    found = compare_drawn(*drawn(case), EXAMPLES, paired=True)
    assert (found.pair_p, found.reason, found.lacks) == (known.pair_p, known.reason, "seeds")
    before, after = (side.resampled[0] for side in drawn(case))
    statistic = abs(found.value) / (after - before).std(ddof=1)
    assert found.pair_p == pytest.approx(2 * stats.t.sf(statistic, EXAMPLES - 1), rel=1e-9)


def test_few_resamples_leave_few_degrees_of_freedom() -> None:
    sides = drawn(uneven(3, 3))
    before, after = (Drawn(side.observed, side.resampled[:, :50]) for side in sides)
    found = compare_drawn(before, after, EXAMPLES, paired=True)
    assert found.components is not None
    assert found.components.added[0].freedom == 49
