from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.analysis.stats import resampling
from harness.analysis.stats.quality_tests import Drawn, compare_drawn, compare_quality
from harness.analysis.stats.resampling import Case
from harness.analysis.stats.scoring import scores
from harness.analysis.stats.tests import Effect

Classes = NDArray[np.int64]
BINARY_METRICS = ("eval_accuracy", "eval_f1", "eval_mcc")


def _case(
    metric: str = "eval_accuracy", seeds: int = 1, examples: int = 408, seed: int = 0, accuracy: float = 0.85
) -> Case:
    random = np.random.default_rng([seed, seeds, examples])
    labels = (random.random(examples) < 0.68).astype(np.int64)
    before, after = (
        np.where(random.random((seeds, examples)) < share, labels, 1 - labels) for share in (0.85, accuracy)
    )
    return Case(metric, labels, before, after)


def _one(case: Case, resamples: int = 10_000) -> Effect:
    return compare_quality([case], resamples=resamples)[0]


@pytest.mark.parametrize("metric", ["eval_f1", "eval_mcc"])
def test_one_seed_s_p_for_this_pair_follows_from_scipy_s_bootstrap(metric: str) -> None:
    case = _case(metric, accuracy=0.80)
    found = _one(case)

    def statistic(rows: Classes) -> float:
        columns = np.stack([case.before[0][rows], case.after[0][rows]])
        before, after = scores(metric, case.labels[rows], columns)
        return float(after - before)

    expected = stats.bootstrap(
        (np.arange(408),), statistic, n_resamples=4_000, method="percentile", rng=1, vectorized=False
    )
    p = 2 * stats.norm.sf(abs(found.value) / expected.standard_error)
    assert found.pair_p == pytest.approx(p, abs=0.02)
    assert found.value == pytest.approx(statistic(np.arange(408)))
    assert (found.p, found.components) == (None, None)


def test_several_seeds_variance_equals_the_two_way_analysis_of_variance() -> None:
    case = _case(seeds=4, accuracy=0.82)
    found = _one(case, 40_000)
    d = (case.after == case.labels).astype(float) - (case.before == case.labels)
    seeds, examples = d.shape
    by_seed, by_example = d.mean(axis=1), d.mean(axis=0)
    ms_seed = examples * by_seed.var(ddof=1)
    ms_example = seeds * by_example.var(ddof=1)
    residual = d - by_seed[:, None] - by_example + d.mean()
    ms_residual = (residual**2).sum() / ((seeds - 1) * (examples - 1))
    interaction = max(ms_example - ms_residual, 0)
    total = (ms_seed + interaction) / d.size
    uncertainty = ms_seed**2 / (seeds - 1) + interaction**2 / (examples - 1)
    by_trials = stats.t.ppf(0.975, (total * d.size) ** 2 / uncertainty) * np.sqrt(total)
    by_examples = stats.norm.ppf(0.975) * np.sqrt(ms_example / d.size)
    assert found.value == pytest.approx(d.mean())
    assert found.components is not None
    assert found.components.half_width(0.05) == pytest.approx(max(by_trials, by_examples), abs=2e-4)


def test_unpaired_seeds_pool_the_variance_of_the_sides_with_several() -> None:
    case = _case(seeds=4, accuracy=0.82)
    right = [(side == case.labels).astype(float).mean(axis=1) for side in (case.before, case.after)]
    both = _one(Case(case.metric, case.labels, case.before, case.after[:2], paired=False))
    scatter = (right[0].var(ddof=1) * 3 + right[1][:2].var(ddof=1)) / 4
    assert both.components is not None
    step = 1 / case.labels.size
    assert both.components.between.variance == pytest.approx((scatter + step**2) * (1 / 4 + 1 / 2))
    assert both.components.between.freedom == 4
    one = _one(Case(case.metric, case.labels, case.before, case.after[:1], paired=False))
    assert one.components is not None
    alone = right[0].var(ddof=1) + step**2
    assert one.components.between.variance == pytest.approx(alone * (1 / 4 + 1))
    assert one.components.between.freedom == 3


def test_several_variants_are_averaged_seed_by_seed() -> None:
    cases = [_case(seeds=3, seed=0), _case(seeds=3, seed=0, accuracy=0.7)]
    stacked = Case(
        cases[0].metric,
        cases[0].labels,
        np.concatenate([case.before for case in cases]),
        np.concatenate([case.after for case in cases]),
        variants=2,
    )
    found = _one(stacked)
    assert found.value == pytest.approx(np.mean([_one(case).value for case in cases]))
    differences = np.mean(
        [((case.after == case.labels) * 1.0 - (case.before == case.labels)).mean(axis=1) for case in cases],
        axis=0,
    )
    assert found.components is not None
    step = 1 / (2 * cases[0].labels.size)
    assert found.components.between.variance == pytest.approx((differences.var(ddof=1) + step**2) / 3)


def test_equal_differences_of_two_seeds_have_the_variance_of_a_step() -> None:
    labels = np.zeros(100, dtype=np.int64)
    before, after = np.ones((2, 100), dtype=np.int64), np.ones((2, 100), dtype=np.int64)
    before[:, :60], after[:, :68] = 0, 0
    found = _one(Case("eval_accuracy", labels, before, after))
    assert found.components is not None
    assert found.components.between.variance == pytest.approx(0.01**2 / 2)


@pytest.mark.parametrize(("metric", "reach"), [("eval_accuracy", 0.68), ("eval_mcc", 0.0)])
def test_an_effect_reaches_from_a_constant_answer_to_a_perfect_score(metric: str, reach: float) -> None:
    case = _case(metric, seeds=3)
    found = _one(case)
    base = float(scores(metric, case.labels, case.before).mean())
    chance = max(np.mean(case.labels), 1 - np.mean(case.labels)) if metric == "eval_accuracy" else 0.0
    assert chance == pytest.approx(reach, abs=0.05)
    assert found.reach == pytest.approx(max(1 - base, base - chance))
    low = -1.0 if metric == "eval_mcc" else 0.0
    assert found.bounds == pytest.approx((low - base, 1 - base))


def test_the_same_case_gives_the_same_effect_whatever_stands_beside_it() -> None:
    cases = [
        _case(metric, seeds, seed=seed) for metric in BINARY_METRICS for seeds in (1, 3) for seed in (0, 1)
    ]
    together = compare_quality(cases)
    assert together == [_one(case) for case in cases]
    assert compare_quality(cases[::-1]) == together[::-1]


@pytest.mark.parametrize("metric", BINARY_METRICS)
@pytest.mark.parametrize("seeds", [2, 3])
def test_large_data_sets_are_resampled_by_kind_of_example(
    metric: str, seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = _case(metric, seeds)
    by_example = _one(case)
    monkeypatch.setattr(resampling, "_SHARED_EXAMPLES", 1)
    monkeypatch.setattr(resampling, "_BLOCK", 3_000)
    by_kind = _one(case)
    assert by_kind.value == by_example.value
    assert by_kind.components is not None
    assert by_example.components is not None
    assert by_kind.components.floor == pytest.approx(by_example.components.floor, rel=0.05)


def test_the_loss_is_compared_example_by_example() -> None:
    random = np.random.default_rng(3)
    before = random.exponential(size=(1, 300))
    after = before + random.normal(0.05, 0.2, size=(1, 300))
    found = _one(Case("eval_loss", np.zeros(300, dtype=np.int64), before, after))
    expected = stats.ttest_rel(after[0], before[0])
    assert found.pair_p == pytest.approx(expected.pvalue, rel=0.1)


@pytest.mark.parametrize("metric", BINARY_METRICS)
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("examples", [1, 2, 408])
def test_equal_predictions_have_no_p_value_and_say_why(metric: str, seeds: int, examples: int) -> None:
    labels = np.ones(examples, dtype=np.int64)
    columns = np.ones((seeds, examples), dtype=np.int64)
    found = _one(Case(metric, labels, columns, columns))
    assert (found.value, found.p, found.components, found.identical) == (0.0, None, None, True)
    assert found.reason == f"the predictions agree on all {examples} examples"


@pytest.mark.parametrize("metric", BINARY_METRICS)
@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("examples", [1, 2, 5])
def test_tiny_and_constant_sides_divide_by_nothing(metric: str, seeds: int, examples: int) -> None:
    labels = np.zeros(examples, dtype=np.int64)
    right, wrong = np.zeros((seeds, examples), dtype=np.int64), np.ones((seeds, examples), dtype=np.int64)
    with np.errstate(all="raise"):
        found = _one(Case(metric, labels, right, wrong))
    assert not found.identical
    assert np.isfinite(found.value)
    assert (found.p is None) == (found.reason is not None)


def test_seeds_that_agree_by_chance_do_not_make_the_examples_certain() -> None:
    labels = np.zeros(100, dtype=np.int64)
    before = np.zeros((2, 100), dtype=np.int64)
    after = before.copy()
    after[0, :3], after[1, 50:53] = 1, 1
    found = _one(Case("eval_accuracy", labels, before, after))
    assert found.value == pytest.approx(-0.03)
    interval = found.interval(0.05)
    assert interval is not None
    assert interval[0] < -0.05


def test_three_classes_where_only_wrong_guesses_change_have_no_discordant_pair() -> None:
    labels = np.zeros(20, dtype=np.int64)
    before, after = np.full((1, 20), 1), np.full((1, 20), 2)
    found = _one(Case("eval_accuracy", labels, before, after))
    assert (found.pair_p, found.discordant, found.identical) == (None, (0, 0), False)
    assert "no example separates them" in (found.reason or "")


def test_copies_of_a_variant_have_the_error_of_one() -> None:
    """Many variants are scored in parts of the resamples, which changes nothing."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 60)
    before, after = (np.where(random.random((3, 60)) < share, labels, 1 - labels) for share in (0.7, 0.9))
    whole = Case("eval_f1", labels, np.tile(before, (400, 1)), np.tile(after, (400, 1)), variants=400)
    one, many = compare_quality([Case("eval_f1", labels, before, after), whole])
    assert one.components is not None
    assert many.components is not None
    assert many.value == pytest.approx(one.value, rel=1e-12)
    assert many.components.floor == pytest.approx(one.components.floor, rel=1e-9)
    assert many.components.added[0].variance == pytest.approx(one.components.added[0].variance, rel=1e-9)


def _drawn(random: np.random.Generator, seeds: int, shift: float = 0.0, examples: int = 400) -> Drawn:
    """The accuracies of a side whose seeds are right on 80 % of the examples and `shift` more."""
    right = random.random((seeds, examples)) < 0.8 + shift
    places = np.random.default_rng(9).integers(0, examples, (300, examples))
    return Drawn(right.mean(axis=1), right[:, places].mean(axis=2))


def test_scores_resampled_elsewhere_are_compared_with_unpaired_seeds() -> None:
    random = np.random.default_rng(4)
    equal = compare_drawn(_drawn(random, 4), _drawn(random, 3), 400, paired=False)
    assert equal.test == "unpaired seeds, paired examples"
    assert equal.p is not None
    assert equal.p > 0.05
    better = compare_drawn(_drawn(random, 4), _drawn(random, 3, 0.15), 400, paired=False)
    assert better.p is not None
    assert better.p < 0.05
    assert better.value == pytest.approx(0.15, abs=0.03)


def test_scores_that_nothing_changes_have_no_p_value() -> None:
    constant = Drawn(np.full(3, 0.5), np.full((3, 300), 0.5))
    one = compare_drawn(constant, constant, 1, paired=True)
    assert (one.value, one.p, one.reason) == (0.0, None, "one example: no error can be estimated")
    several = compare_drawn(constant, constant, 400, paired=True)
    assert (several.p, several.reason) == (None, "neither seeds nor examples differ: no p-value")
